"""Benchmarks: `python scripts/bench.py [ROW...]` compares this package with what a user would run instead, on this machine.

Each row of the table is measured against its rivals in turn (A, B, A, B, ...), each side in a process of its own. The rows are in the
folder `benchmarks`.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Annotated, Literal

import typer
from benchmarks import growth
from benchmarks.machine import description, limits
from benchmarks.processes import compare, in_process
from benchmarks.report import HEADER, Results, insert, table_line
from benchmarks.row import lines_of
from benchmarks.rows import ROWS

Device = Literal["cpu", "cuda"]
GROWTH = "growth"


def main(
    names: Annotated[list[str] | None, typer.Argument(metavar="[ROW]...", help="Rows to measure. Default: all except `startup`.")] = None,
    device: Annotated[Device, typer.Option(help="Device of both sides.")] = "cpu",
    pairs: Annotated[int, typer.Option("-n", "--pairs", min=1, help="Number of counted runs of each side.")] = 3,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write results to this file after each row. Other rows in the file are kept.")
    ] = None,
    markdown: Annotated[
        Path | None, typer.Option(help="Put the table between the markers in this file, for example docs/performance.md.")
    ] = None,
) -> None:
    """Measure rows against their rivals and print a table. Exits with code 1 if a target is missed or a row fails."""
    from autophagy.common.core.runtime import configure

    configure(device=device, checkpoint_seconds=3600, compile_models=device == "cuda")
    known = [*dict.fromkeys(row.name for row in ROWS if row.device == device), *([GROWTH] if device == "cpu" else [])]
    if unknown := [name for name in names or () if name not in known]:
        raise typer.BadParameter(f"no row '{unknown[0]}' for {device}; rows: {', '.join(known)}")
    results = Results(device, in_process(partial(description, device)), in_process(partial(limits, device)), json_file)
    measured = []
    print(HEADER, flush=True)
    for row in ROWS:
        if row.device != device or (row.name not in names if names else row.on_request):
            continue
        sides = compare(row, pairs=pairs, tell=lambda step, row=row: print(f"{row.title}: {step}", file=sys.stderr, flush=True))
        lines = in_process(partial(lines_of, row, sides, results.limits))
        print(*map(table_line, lines), sep="\n", flush=True)
        measured += lines
        results.add(lines)
        if markdown is not None:
            insert(markdown, device, results.markdown())
    if device == "cpu" and (not names or GROWTH in names):
        measure_growth(results, markdown)
    if any(line.problem or line.met is False for line in measured):
        raise typer.Exit(1)


def measure_growth(results: Results, markdown: Path | None) -> None:
    """Print the slopes of the row `growth`. With `markdown`, also draw the curves into `growth.svg` beside that file."""
    points = growth.measure(lambda step: print(f"{GROWTH}: {step}", file=sys.stderr, flush=True))
    print(f"\n{growth.table(points)}", flush=True)
    results.put(GROWTH, [asdict(point) for point in points])
    if markdown is not None:
        insert(markdown, GROWTH, growth.table(points))
        growth.draw(points, markdown.with_name("growth.svg"))


if __name__ == "__main__":
    typer.run(main)
