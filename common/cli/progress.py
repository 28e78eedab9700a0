"""What a run says while it works: a live display on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from ..execution.workers import Event

PLAIN_SECONDS = 5
"""Off a terminal, generations finished within so many seconds of the last line share the next one."""


@contextmanager
def watching(total: int, console: Console) -> Iterator[Callable[[Event], None]]:
    """A watcher for `total` generations: which experiment, policy, seed and generation, what is being done, the time left."""
    if console.is_terminal:
        yield from _live(total, console)
    else:
        yield from _plain(total, console)


def _live(total: int, console: Console) -> Iterator[Callable[[Event], None]]:
    columns = (
        BarColumn(), MofNCompleteColumn(), TextColumn("generations"), TimeElapsedColumn(), TextColumn("left"),
        TimeRemainingColumn(), TextColumn("{task.description}"),
    )  # fmt: skip
    with Progress(*columns, console=console) as bar:
        whole = bar.add_task("", total=total)

        def watch(event: Event) -> None:
            bar.update(whole, advance=int(event.done), description=f"{event.experiment} · {event.task} · {event.what}")

        yield watch


def _plain(total: int, console: Console) -> Iterator[Callable[[Event], None]]:
    started = last = time.monotonic()
    done = 0

    def watch(event: Event) -> None:
        nonlocal done, last
        done += event.done
        now = time.monotonic()
        said = now - last >= PLAIN_SECONDS or done == total
        if said and event.done:
            left = (now - started) / done * (total - done)
            console.print(
                f"{done}/{total} generations, about {left:.0f} s left: {event.experiment}, {event.task}, {event.what}", highlight=False
            )
            last = now
        elif said and not done:
            console.print(f"{event.experiment}, {event.task}: {event.what}", highlight=False, soft_wrap=True)
            last = now

    yield watch
