"""The one exception for what a user can put right, and the did-you-mean that goes into its messages."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable


class UserError(ValueError):
    """Something the user asked for cannot be done. The command line prints it without a traceback and exits with 2."""


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """`"; did you mean 'x'?"` for the closest of the known names, else the whole list of them."""
    known = sorted(known)
    close = difflib.get_close_matches(str(name), known, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{close[0]}'?"
    return f"; known: {', '.join(known)}" if known else ""


def short_repr(value: object) -> str:
    """A value as a message shows it: as Python writes it, what is long or deep cut short."""
    short = reprlib.Repr()
    short.maxlevel, short.maxstring, short.maxlong, short.maxother = 3, 100, 100, 100
    return short.repr(value)
