"""Ctrl-C that cannot get lost: what it raises may come up where Python or a library swallows it, most of all during imports."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

AGAIN_SECONDS = 0.5


@contextmanager
def repeat_interrupt() -> Iterator[None]:
    """Inside, a Ctrl-C is raised again every half second until it is `heard`. Only for the main thread of a program of its own.

    Where Ctrl-C is ignored, as in what a shell starts in the background, it stays so.
    """
    if signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    unraisable = sys.unraisablehook
    signal.signal(signal.SIGINT, _interrupt)
    sys.unraisablehook = lambda what: None if what.exc_type is KeyboardInterrupt else unraisable(what)  # it comes again
    try:
        yield
    finally:
        acknowledge()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.unraisablehook = unraisable


def acknowledge() -> None:
    """Do not raise the last Ctrl-C again."""
    if signal.getsignal(signal.SIGALRM) is _interrupt:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _interrupt(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGALRM, _interrupt)
    signal.setitimer(signal.ITIMER_REAL, AGAIN_SECONDS)
    raise KeyboardInterrupt
