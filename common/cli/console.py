"""What the commands say, and how: results to stdout, everything else to stderr, and nothing that a terminal would obey."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import typer
from rich.console import Console

from ..core.errors import UserError
from ..core.resources import cause_chain, machine_fault
from .interrupt import acknowledge

out_console = Console()
err_console = Console(stderr=True)

LONGEST_LINE = 1000
"""Characters of a line of an error message."""
MOST_LINES = 20
"""Lines of an error message: one for each fault of a config."""


def say(text: str) -> None:
    """A line of results as it is: no wrapping, no colours."""
    out_console.print(_inert(text), highlight=False, soft_wrap=True, markup=False)


@contextmanager
def told() -> Iterator[None]:
    """What the user can put right is said in one message, exit code 2; an interrupt says what was kept, 130."""
    warnings.showwarning = lambda message, *_, **__: _complain(f"warning: {message}", style="yellow")
    try:
        yield
    except (Exception, KeyboardInterrupt) as error:
        if any(isinstance(one, KeyboardInterrupt) for one in cause_chain(error)):  # what was being imported may have made another of it
            acknowledge()
            err_console.print("interrupted; what was finished is kept, the same command goes on from there")
            raise typer.Exit(130) from error
        said = str(error) if isinstance(error, UserError) else machine_fault(error)
        if said is None:
            raise
        lines = said.splitlines()
        for line in lines[:MOST_LINES]:
            _complain(f"error: {line}", style="red")
        if len(lines) > MOST_LINES:
            _complain(f"and {len(lines) - MOST_LINES} more like these", style="red")
        raise typer.Exit(2) from error


def _complain(line: str, *, style: str) -> None:
    """A line of a message, which may quote a file or a config: the middle of a very long one is left out."""
    line = _inert(line)
    if len(line) > LONGEST_LINE:
        line = f"{line[: LONGEST_LINE // 2]} [...] {line[-LONGEST_LINE // 2 :]}"
    err_console.print(line, style=style, highlight=False, markup=False, soft_wrap=True)


def _inert(text: str) -> str:
    """The same with what a terminal would obey, or cannot show, spelled out."""
    return "".join(char if char.isprintable() or char == "\n" else ascii(char)[1:-1] for char in text)
