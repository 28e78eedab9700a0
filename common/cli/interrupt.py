"""A Ctrl-C that cannot get lost. Python and libraries can swallow KeyboardInterrupt, above all during imports."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

REPEAT_SECONDS = 0.5


@contextmanager
def repeat_interrupt() -> Iterator[None]:
    """Raise KeyboardInterrupt again every half second after a Ctrl-C, until `acknowledge` is called.

    For the main thread of a command. If Ctrl-C is ignored, as in a background job of a shell, nothing changes.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    original_hook = sys.unraisablehook

    def hide_interrupts(unraisable: Any) -> None:
        if unraisable.exc_type is not KeyboardInterrupt:  # that one is raised again
            original_hook(unraisable)

    signal.signal(signal.SIGINT, _interrupt)
    sys.unraisablehook = hide_interrupts
    try:
        yield
    finally:
        acknowledge()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.unraisablehook = original_hook


def acknowledge() -> None:
    """Stop repeating the last Ctrl-C."""
    if signal.getsignal(signal.SIGALRM) is _interrupt:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGALRM, _interrupt)
    signal.setitimer(signal.ITIMER_REAL, REPEAT_SECONDS)
    raise KeyboardInterrupt
