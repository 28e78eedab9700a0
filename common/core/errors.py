"""`UserError`, the exception for mistakes that a user can fix, and functions that format its messages."""

from __future__ import annotations

import difflib
import reprlib
from collections.abc import Iterable


class UserError(ValueError):
    """A mistake in a config, a command or a file that the user can fix.

    The command line prints the message without a traceback and exits with code 2.
    """


MAX_NAMES = 40
"""The most known names that a message lists."""


def did_you_mean(name: object, known: Iterable[str]) -> str:
    """Return the end of an "unknown name" message: `; did you mean 'x'?` if a known name is similar, else `; known: ...`."""
    names = sorted(known)
    close = difflib.get_close_matches(str(name), names, n=1, cutoff=0.6)
    if close:
        return f"; did you mean '{close[0]}'?"
    if not names:
        return ""
    more = f", and {len(names) - MAX_NAMES} more" if len(names) > MAX_NAMES else ""
    return f"; known: {', '.join(names[:MAX_NAMES])}{more}"


def short_repr(value: object) -> str:
    """Return the repr of a value for a message. Long strings and deep nesting are shortened."""
    short = reprlib.Repr()
    short.maxlevel, short.maxstring, short.maxlong, short.maxother = 3, 100, 100, 100
    return short.repr(value)
