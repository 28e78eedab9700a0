"""Makes Ctrl-C reliable. Python and libraries can swallow KeyboardInterrupt, especially during imports."""

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
    """After a Ctrl-C, raise KeyboardInterrupt every half second until `acknowledge` is called.

    Only for the main thread of a command. Does nothing if the process ignores Ctrl-C, as background jobs of a shell do.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    original_hook = sys.unraisablehook

    def hide_interrupts(unraisable: Any) -> None:
        if unraisable.exc_type is not KeyboardInterrupt:  # KeyboardInterrupt is raised again
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
    """Stop repeating KeyboardInterrupt."""
    if signal.getsignal(signal.SIGALRM) is _interrupt:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGALRM, _interrupt)
    signal.setitimer(signal.ITIMER_REAL, REPEAT_SECONDS)
    raise KeyboardInterrupt
