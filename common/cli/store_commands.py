"""The commands that look after a store: `verify` and `gc`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.filesize import decimal
from rich.markup import escape
from rich.progress import track
from rich.table import Table

from .console import err_console, out_console, say

if TYPE_CHECKING:
    from ..store.garbage_collection import Item

Store = Annotated[Path, typer.Option(help="Folder where everything that is made is kept, and found again.")]
Runs = Annotated[
    list[Path] | None, typer.Argument(metavar="RUN", help="Runs to keep: folders that `run` wrote, or a folder of such folders.")
]


def verify(store: Store = Path("runs/store")) -> None:
    """Check every byte of a store against what was put there. It only reads; the exit code is 1 if something is damaged."""
    from ..store.verify import check, left_drafts, to_check

    found = to_check(store)
    artifacts = size = damaged = dropped = 0
    for checked in _counting(check(found), total=len(found)):
        artifacts, size = artifacts + bool(checked.key), size + checked.bytes
        damaged, dropped = damaged + bool(checked.fault), dropped + checked.dropped
        if checked.fault:
            where = f"{checked.key} {checked.stage}".rstrip() if checked.key else checked.path.relative_to(store)
            say(f"damaged: {where}: {checked.fault}")
    say(f"{store}: {artifacts:,} artifacts, {decimal(size)}; {damaged:,} damaged")
    if dropped:
        say(f"{dropped:,} models have no weights any more (gc --weights); what needs them makes them again")
    if left := left_drafts(store):
        say(f"{len(left):,} drafts were left by killed runs; `autophagy gc` frees them")
    if damaged:
        say("what needs a damaged artifact sets it aside and makes it anew")
        raise typer.Exit(1)


def gc(
    runs: Runs = None,
    store: Store = Path("runs/store"),
    weights: Annotated[bool, typer.Option("--weights", help="Drop weights between the first and the last generation of RUNs too.")] = False,
    set_aside: Annotated[bool, typer.Option("--set-aside", help="Free what was damaged and set aside too.")] = False,
    unfinished: Annotated[bool, typer.Option("--unfinished", help="Free what killed or failed runs had made so far too.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Free it; without this it is only said what would be freed.")] = False,
) -> None:
    """Free what no RUN needs, and what killed processes left. Without RUNs no artifact is freed."""
    from ..store.garbage_collection import free, plan

    planned = plan(store, runs or (), weights=weights, set_aside=set_aside, unfinished=unfinished)
    for_whom = [str(run.folder) for run in planned.runs] + [f"{ledger.name} (unfinished)" for ledger in planned.unfinished]
    say(f"{store}: {planned.artifacts:,} artifacts, {decimal(planned.bytes)}, stay: {', '.join(for_whom) or 'no RUN was named'}")
    if planned.missing:
        say(f"{planned.missing:,} artifacts that these runs need are not there; running them again makes them")
    freed = planned.items
    if yes:
        outcomes = list(_counting(free(planned), total=len(planned.items)))
        freed = [item for item, gone in outcomes if gone]
        if len(freed) < len(outcomes):
            say(f"{len(outcomes) - len(freed):,} stay after all: other processes use them or were faster")
    out_console.print(_table(freed))
    say("freed" if yes else "would be freed; --yes frees it")


def _table(items: Iterable[Item]) -> Table:
    """How many of each kind, what they take on the disk, and what it would cost to make them again."""
    table = Table(box=None, pad_edge=False)
    for heading in ("what", "number", "bytes", "seconds to make again"):
        table.add_column(heading, justify="left" if heading == "what" else "right")
    by_kind: dict[str, list[Item]] = {}
    for item in items:
        by_kind.setdefault(item.kind, []).append(item)
    for kind, alike in [*sorted(by_kind.items()), ("all", list(items))]:
        seconds = sum(item.seconds for item in alike)
        table.add_row(escape(kind), f"{len(alike):,}", decimal(sum(item.bytes for item in alike)), f"{seconds:,.0f}" if seconds else "")
    return table


def _counting(found: Iterable[Any], *, total: int) -> Iterator[Any]:
    """The same, while a bar on a terminal, or a line every few seconds elsewhere, says how far it is."""
    if err_console.is_terminal:
        yield from track(found, description="", total=total, console=err_console, transient=True)
        return
    said = time.monotonic()
    for count, one in enumerate(found, 1):
        if time.monotonic() - said > 5:
            err_console.print(f"{count:,} of {total:,}", highlight=False)
            said = time.monotonic()
        yield one
