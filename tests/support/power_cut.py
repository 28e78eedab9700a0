"""Simulates a power cut inside the test process. Execution stops at the n-th call that changes a file."""

from __future__ import annotations

from collections.abc import Callable

import pytest


class PowerCut(BaseException):
    """Stops the code under test. Derived from BaseException, so that `except Exception` does not catch it."""


def power_cut(action: Callable[[], object], *, at: int, calls: list[tuple[object, str]]) -> bool:
    """Run `action` and stop it just before the `at`-th call of the counted functions. Returns False if there are fewer calls.

    calls: the functions to count, each as (module or object, attribute name) where the code under test looks it up.
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
