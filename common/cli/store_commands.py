"""Defines the commands that maintain a store: `verify` and `gc`."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from .console import err_console, out_console, say

if TYPE_CHECKING:
    from rich.table import Table

    from ..store.garbage_collection import Item

T = TypeVar("T")
Store = Annotated[Path, typer.Option(help="Folder that caches all artifacts.")]
Runs = Annotated[
    list[Path] | None, typer.Argument(metavar="RUN", help="Runs to keep: output folders of `run`, or a folder that contains them.")
]


def verify(store: Store = Path("runs/store")) -> None:
    """Compare every byte of a store with its digests. Changes nothing. Exits with code 1 if an artifact is damaged."""
    from rich.filesize import decimal

    from ..store.verify import abandoned_drafts, check_artifacts, paths_to_check

    paths = paths_to_check(store)
    artifacts = size = damaged = dropped = 0
    for checked in _with_progress(check_artifacts(paths), total=len(paths)):
        artifacts, size = artifacts + bool(checked.key), size + checked.bytes
        damaged, dropped = damaged + bool(checked.fault), dropped + checked.dropped
        if checked.fault:
            where = f"{checked.key} {checked.stage}".rstrip() if checked.key else checked.path.relative_to(store)
            say(f"damaged: {where}: {checked.fault}")
    say(f"{store}: {artifacts:,} artifacts, {decimal(size)}; {damaged:,} damaged")
    if dropped:
        say(f"{dropped:,} models have no weights (removed by gc --weights); they are rebuilt when needed")
    if abandoned := abandoned_drafts(store):
        say(f"{len(abandoned):,} drafts were left by killed runs; `autophagy gc` removes them")
    if damaged:
        say("a run that needs a damaged artifact sets it aside and rebuilds it")
        raise typer.Exit(1)


def gc(
    runs: Runs = None,
    store: Store = Path("runs/store"),
    weights: Annotated[
        bool, typer.Option("--weights", help="Also remove weights of generations between the first and the last of RUNs.")
    ] = False,
    set_aside: Annotated[bool, typer.Option("--set-aside", help="Also remove damaged artifacts that were set aside.")] = False,
    unfinished: Annotated[bool, typer.Option("--unfinished", help="Also remove artifacts of runs that were killed or failed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Remove the files. Without this option, only print what would be removed.")] = False,
) -> None:
    """Remove artifacts that no RUN needs. Also removes files of killed processes. Without RUNs, no artifact is removed."""
    from rich.filesize import decimal

    from ..store.garbage_collection import plan_collection, remove_items

    plan = plan_collection(store, runs or (), weights=weights, set_aside=set_aside, unfinished=unfinished)
    kept_for = [str(run.folder) for run in plan.runs] + [f"{ledger.name} (unfinished)" for ledger in plan.unfinished]
    say(f"{store}: {plan.artifacts:,} artifacts, {decimal(plan.bytes)}, are kept for: {', '.join(kept_for) or 'no RUN'}")
    if plan.missing:
        say(f"{plan.missing:,} artifacts that these runs need are missing; running them again builds them")
    removed = plan.items
    if yes:
        results = list(_with_progress(remove_items(plan), total=len(plan.items)))
        removed = [item for item, was_removed in results if was_removed]
        if len(removed) < len(results):
            say(f"{len(results) - len(removed):,} were kept, because other processes use them or removed them first")
    out_console().print(_table(removed))
    say("removed" if yes else "would be removed; add --yes to remove them")


def _table(items: Iterable[Item]) -> Table:
    """Build a table with the number, size on disk and build time of the items of each kind."""
    from rich.filesize import decimal
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in ("kind", "number", "bytes", "seconds to rebuild"):
        table.add_column(heading, justify="left" if heading == "kind" else "right")
    by_kind: dict[str, list[Item]] = {}
    for item in items:
        by_kind.setdefault(item.kind, []).append(item)
    for kind, alike in [*sorted(by_kind.items()), ("all", list(items))]:
        seconds = sum(item.seconds for item in alike)
        table.add_row(escape(kind), f"{len(alike):,}", decimal(sum(item.bytes for item in alike)), f"{seconds:,.0f}" if seconds else "")
    return table


def _with_progress(items: Iterable[T], *, total: int) -> Iterator[T]:
    """Yield the items and display progress: a bar on a terminal, a line every few seconds otherwise."""
    if err_console().is_terminal:
        from rich.progress import track

        yield from track(items, description="", total=total, console=err_console(), transient=True)
        return
    last_line = time.monotonic()
    for count, item in enumerate(items, 1):
        if time.monotonic() - last_line > 5:
            err_console().print(f"{count:,} of {total:,}", highlight=False)
            last_line = time.monotonic()
        yield item
