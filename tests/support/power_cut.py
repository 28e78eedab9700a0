"""Simulates a power cut inside the test process: execution stops at the n-th call that changes a file."""

from __future__ import annotations

from collections.abc import Callable

import pytest


class PowerCut(BaseException):
    """Derives from BaseException, so that no `except Exception` in the code under test catches it."""


def power_cut(action: Callable[[], object], *, at: int, calls: list[tuple[object, str]]) -> bool:
    """Run `action` and stop it instead of making the `at`-th of the calls. Returns False if fewer calls were made.

    calls: (object, name of the function in it) of each function to count, as the code under test looks it up.
    """
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
            action()
        except PowerCut:
            return True
    return False
