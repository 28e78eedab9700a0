"""Prints results to stdout and messages to stderr. Escapes control characters."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING

import typer

from .interrupt import acknowledge

if TYPE_CHECKING:
    from rich.console import Console

MAX_LINE_LENGTH = 1000
"""Maximum number of characters per line of an error message."""
MAX_LINES = 20
"""Maximum number of lines of an error message. An invalid config gets one line per fault."""


def out_console() -> Console:
    """Return the console for results (stdout)."""
    return _console(stderr=False)


def err_console() -> Console:
    """Return the console for progress, warnings and errors (stderr)."""
    return _console(stderr=True)


@cache
def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    return Console(stderr=stderr)


def say(text: str) -> None:
    """Print a line of results without wrapping and colours."""
    out_console().print(_escape(text), highlight=False, soft_wrap=True, markup=False)


@contextmanager
def report_errors() -> Iterator[None]:
    """Exit with code 2 and a message after an error that the user can fix. Exit with code 130 after Ctrl-C."""
    warnings.showwarning = lambda message, *_, **__: _print_message(f"warning: {message}", style="yellow")
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        from ..core.errors import UserError
        from ..core.resources import cause_chain, machine_fault

        if any(isinstance(cause, KeyboardInterrupt) for cause in cause_chain(error)):  # an import may wrap it
            acknowledge()
            err_console().print("interrupted; finished stages are kept, and the same command continues from there")
            raise typer.Exit(130) from error
        message = str(error) if isinstance(error, UserError) else machine_fault(error)
        if message is None:
            raise
        lines = message.splitlines()
        for line in lines[:MAX_LINES]:
            _print_message(f"error: {line}", style="red")
        if len(lines) > MAX_LINES:
            _print_message(f"... and {len(lines) - MAX_LINES} more errors", style="red")
        raise typer.Exit(2) from error


def _print_message(line: str, *, style: str) -> None:
    """Print one line of a message that may quote a file or a config. Removes the middle of very long lines."""
    line = _escape(line)
    if len(line) > MAX_LINE_LENGTH:
        line = f"{line[: MAX_LINE_LENGTH // 2]} [...] {line[-MAX_LINE_LENGTH // 2 :]}"
    err_console().print(line, style=style, highlight=False, markup=False, soft_wrap=True)


def _escape(text: str) -> str:
    """Replace characters that control a terminal or cannot be printed by escape sequences."""
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)
