"""A power cut within this process: whatever it does ends at the n-th of the calls that change files."""

from __future__ import annotations

from collections.abc import Callable

import pytest


class PowerCut(BaseException):
    """No Exception, so that nothing in the code catches it."""


def power_cut(do: Callable[[], object], *, at: int, calls: list[tuple[object, str]]) -> bool:
    """Do it; the `at`-th of the calls, named by where they are looked up, is never made. Whether it came to that."""
    left = at

    def counted(call):
        def cut(*args, **kwargs):
            nonlocal left
            left -= 1
            if left == 0:
                raise PowerCut
            return call(*args, **kwargs)

        return cut

    with pytest.MonkeyPatch.context() as patched:
        for place, name in calls:
            patched.setattr(place, name, counted(getattr(place, name)))
        try:
            do()
        except PowerCut:
            return True
    return False
