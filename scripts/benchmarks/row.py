"""A row of the benchmark table: the same work done by this package and by its rivals, with targets. Also the results of a row."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

GIBIBYTE = 2**30


@dataclass(frozen=True)
class Task:
    """Work that is repeated and timed. A side of a row prepares it."""

    run: Callable[[], Any]
    """The timed part."""
    count: Callable[[Any], float] = lambda result: 1.0
    """The number of units (tokens, images) in a result of `run`. Not timed."""


Side = Callable[[Any, Path], Task]
"""Prepares the task of one side from the settings of the row and the folder with its files. Runs in a process of its own."""


@dataclass(frozen=True)
class Rival:
    """Another way to do the work of a row."""

    name: str
    prepare: Side
    at_least: float | None = None
    """Target: this package is at least this many times as fast."""


@dataclass(frozen=True)
class Cost:
    """What one unit of work needs at least: operations of matrix products, and bytes read from memory."""

    operations: float
    bytes: float = 0.0
    precision: str = "float32"


@dataclass(frozen=True)
class Row:
    """One comparison. Rows with the same `name` are selected together on the command line."""

    name: str
    case: str
    unit: str
    """`s` (seconds, lower is better), `<units>/s`, or any other unit of the number that `Task.count` returns."""
    ours: Side
    settings: Any
    tiny: Any
    """Settings with which the row takes about a second, for the tests."""
    rivals: Sequence[Rival] = ()
    files: Callable[[Any, Path], None] | None = None
    """Writes the files that all sides read into a folder."""
    cost: Callable[[Any], Cost] | None = None
    """Cost of one unit."""
    device: str = "cpu"
    at_most: float | None = None
    at_least: float | None = None
    """Targets for the value of this package."""
    memory_at_most: float | None = None
    """Target for the peak memory of this package in bytes."""
    pairs: int | None = None
    """Number of counted runs of each side. Default: the option `--pairs`."""
    warm_up: bool = True
    """Whether the first run of each side is not counted."""
    on_request: bool = False
    """Whether the row is measured only if it is named on the command line."""

    @property
    def title(self) -> str:
        return f"{self.name}: {self.case}" if self.case else self.name


@dataclass(frozen=True)
class Timing:
    """One run of a side: its duration in seconds and the units of its result."""

    seconds: float
    count: float

    def value(self, unit: str) -> float:
        """Return the timing in the unit of a row."""
        if unit == "s":
            return self.seconds
        return self.count / self.seconds if unit.endswith("/s") else self.count


@dataclass(frozen=True)
class SideResult:
    """The counted runs of a side and its peak memory in bytes, or the reason why there are none."""

    timings: Sequence[Timing] = ()
    memory: int = 0
    problem: str = ""

    def value(self, unit: str) -> float:
        """Return the median over the runs."""
        return statistics.median(timing.value(unit) for timing in self.timings)


@dataclass(frozen=True)
class Ratio:
    """How many times as fast one side is as the other: median, smallest and largest of the paired ratios."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, ours: SideResult, rival: SideResult) -> Ratio:
        """Compare runs with the same number. They ran one directly after the other, so slow phases of the machine affect both."""
        paired = zip(ours.timings, rival.timings, strict=True)
        ratios = [(own.count / own.seconds) / (other.count / other.seconds) for own, other in paired]
        return cls(statistics.median(ratios), min(ratios), max(ratios))


@dataclass(frozen=True)
class Line:
    """A line of the table: this package against one rival, or alone."""

    row: str
    unit: str
    ours: float | None
    rival: str = ""
    rival_value: float | None = None
    ratio: Ratio | None = None
    target: str = ""
    met: bool | None = None
    limit: str = ""
    """`matrix` or `memory`: the limit of the machine that applies."""
    share: float | None = None
    """The share of that limit which this package reaches."""
    memory: int | None = None
    rival_memory: int | None = None
    problem: str = ""


def lines_of(row: Row, results: Mapping[str, SideResult], limits: Mapping[str, float]) -> list[Line]:
    """Compute the lines of a row from the results of its sides by name (`ours` or the name of a rival)."""
    ours = results["ours"]
    if ours.problem:
        return [Line(row.title, row.unit, None, problem=ours.problem)]
    value = ours.value(row.unit)
    limit, share = share_of_limit(row, ours, limits)
    own = {"row": row.title, "unit": row.unit, "ours": value, "limit": limit, "share": share, "memory": ours.memory}
    lines = []
    if not row.rivals or row.at_most is not None or row.at_least is not None or row.memory_at_most is not None:
        target, met = own_target(row, value, ours.memory)
        lines.append(Line(**own, target=target, met=met))
    for rival in row.rivals:
        result = results[rival.name]
        if result.problem:
            lines.append(Line(**own, rival=rival.name, problem=result.problem))
            continue
        ratio = Ratio.of(ours, result)
        target = "" if rival.at_least is None else f"≥ {rival.at_least:g}x"
        met = None if rival.at_least is None else ratio.median >= rival.at_least
        compared = {"rival_value": result.value(row.unit), "ratio": ratio, "rival_memory": result.memory}
        lines.append(Line(**own, rival=rival.name, target=target, met=met, **compared))
    return lines


def own_target(row: Row, value: float, memory: int) -> tuple[str, bool | None]:
    """Return the targets for this package alone as text, and whether all are met (None: no target)."""
    targets = []
    if row.at_most is not None:
        targets.append((f"≤ {row.at_most:g} {row.unit}", value <= row.at_most))
    if row.at_least is not None:
        targets.append((f"≥ {row.at_least:g} {row.unit}", value >= row.at_least))
    if row.memory_at_most is not None:
        targets.append((f"≤ {row.memory_at_most / GIBIBYTE:g} GiB", memory <= row.memory_at_most))
    return ", ".join(text for text, _ in targets), all(met for _, met in targets) if targets else None


def share_of_limit(row: Row, ours: SideResult, limits: Mapping[str, float]) -> tuple[str, float | None]:
    """Return the limit that applies to a row and the share of it that this package reaches.

    The matrix rate and the memory rate each give a shortest possible time. The longer one applies.
    """
    if row.cost is None:
        return "", None
    cost = row.cost(row.settings)
    if cost.precision not in limits:
        return "", None
    seconds = {"matrix": cost.operations / limits[cost.precision], "memory": cost.bytes / limits["memory"]}
    limit = max(seconds, key=lambda name: seconds[name])
    measured = statistics.median(timing.seconds / timing.count for timing in ours.timings)
    return limit, seconds[limit] / measured
