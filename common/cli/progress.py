"""Displays the progress of a run: a live bar on a terminal, plain lines otherwise."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..execution.workers import Event, ProgressCallback

if TYPE_CHECKING:
    from rich.console import Console

SECONDS_BETWEEN_LINES = 5
"""Minimum time between two progress lines if the output is not a terminal."""


@contextmanager
def progress_display(total: int, console: Console) -> Iterator[ProgressCallback]:
    """Yield a progress callback for `total` generations. It displays experiment, policy, seed, generation, activity and time left."""
    if console.is_terminal:
        yield from _bar(total, console)
    else:
        yield from _lines(total, console)


def _bar(total: int, console: Console) -> Iterator[ProgressCallback]:
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    columns = (
        BarColumn(), MofNCompleteColumn(), TextColumn("generations"), TimeElapsedColumn(), TextColumn("left"),
        TimeRemainingColumn(), TextColumn("{task.description}"),
    )  # fmt: skip
    with Progress(*columns, console=console) as bar:
        generations = bar.add_task("", total=total)

        def update(event: Event) -> None:
            bar.update(generations, advance=int(event.done), description=f"{event.experiment} · {event.task} · {event.activity}")

        yield update


def _lines(total: int, console: Console) -> Iterator[ProgressCallback]:
    started = last_line = time.monotonic()
    done = 0

    def update(event: Event) -> None:
        nonlocal done, last_line
        done += event.done
        now = time.monotonic()
        due = now - last_line >= SECONDS_BETWEEN_LINES or done == total
        if due and event.done:
            left = (now - started) / done * (total - done)
            console.print(
                f"{done}/{total} generations, about {left:.0f} s left: {event.experiment}, {event.task}, {event.activity}", highlight=False
            )
            last_line = now
        elif due and not done:
            console.print(f"{event.experiment}, {event.task}: {event.activity}", highlight=False, soft_wrap=True)
            last_line = now

    yield update
