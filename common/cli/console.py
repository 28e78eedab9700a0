"""Output of the commands: results on stdout, messages on stderr, control characters escaped."""

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
"""Characters of a line of an error message."""
MAX_LINES = 20
"""Lines of an error message. A config can have one for each of its faults."""


def out_console() -> Console:
    """The console for results (stdout)."""
    return _console(stderr=False)


def err_console() -> Console:
    """The console for progress, warnings and errors (stderr)."""
    return _console(stderr=True)


@cache
def _console(*, stderr: bool) -> Console:
    from rich.console import Console

    return Console(stderr=stderr)


def say(text: str) -> None:
    """Print a line of results unchanged: no wrapping, no colours."""
    out_console().print(_escape(text), highlight=False, soft_wrap=True, markup=False)


@contextmanager
def report_errors() -> Iterator[None]:
    """Print faults that the user can fix as one message and exit with 2; exit with 130 on Ctrl-C."""
    warnings.showwarning = lambda message, *_, **__: _print_message(f"warning: {message}", style="yellow")
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        from ..core.errors import UserError
        from ..core.resources import cause_chain, machine_fault

        if any(isinstance(cause, KeyboardInterrupt) for cause in cause_chain(error)):  # an import can turn it into another error
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
    """Print a line that may quote a file or a config. The middle of a very long line is left out."""
    line = _escape(line)
    if len(line) > MAX_LINE_LENGTH:
        line = f"{line[: MAX_LINE_LENGTH // 2]} [...] {line[-MAX_LINE_LENGTH // 2 :]}"
    err_console().print(line, style=style, highlight=False, markup=False, soft_wrap=True)


def _escape(text: str) -> str:
    """The text with characters that control a terminal, or cannot be printed, as escape sequences."""
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)
