"""Claims: what was published about model collapse, each with the experiments that test it and a function that judges them.

    claim ──► experiments ──► run ──► rows ──► judge ──► checks ──► verdict

All checks hold: the claim holds. One fails: it fails. Else it is inconclusive.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..core.errors import UserError, did_you_mean
from .statistical_checks import Check, Estimate, Verdict, at

if TYPE_CHECKING:
    import pandas

Cost = Literal["seconds", "minutes", "gpu"]
COSTS: tuple[Cost, ...] = ("seconds", "minutes", "gpu")
CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "claims"


# ---- how it is shown ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Curve:
    """A line of a claim's picture: a law without an interval, or measured points with one."""

    label: str
    x: Sequence[float]
    y: Sequence[float]
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None
    law: bool = False


@dataclass(frozen=True)
class Figure:
    """Curves over one pair of axes."""

    x: str
    y: str
    curves: Sequence[Curve]
    log_x: bool = False
    log_y: bool = False


def curve(label: str, x: Sequence[float], found: Sequence[Estimate]) -> Curve:
    """Measured points with their intervals."""
    ends = [one.interval for one in found]
    return Curve(label, list(x), [one.value for one in found], [low for low, _ in ends], [high for _, high in ends])


def over_generations(label: str, rows: pandas.DataFrame, metric: str, policy: str) -> Curve:
    """A number along the generations of a policy."""
    generations = sorted(rows[(rows.metric == metric) & (rows.policy == policy)].generation.unique())
    return curve(label, [int(number) for number in generations], [at(rows, metric, policy, number) for number in generations])


@dataclass(frozen=True)
class JudgeOutput:
    """What judging a claim gives: its checks, the one that says most first, and a picture."""

    checks: Sequence[Check]
    picture: Figure
    note: str = ""
    """What a reader should know of how it came out; written by the judge from the numbers."""

    @property
    def verdict(self) -> Verdict:
        found = {check.verdict for check in self.checks}
        return "fails" if "fails" in found else "inconclusive" if "inconclusive" in found or not found else "holds"


def law_curve(label: str, law: Callable[[int], float], generations: int) -> Curve:
    """A law along generations 0 to `generations`."""
    numbers = list(range(generations + 1))
    return Curve(label, numbers, [law(number) for number in numbers], law=True)


# ---- claims -------------------------------------------------------------------------------------------------------------

Rows = Mapping[str, "pandas.DataFrame"]
"""The rows of each experiment of a claim, by the experiment's name."""


@dataclass(frozen=True)
class Claim:
    """A published claim and how it is tested here. Everything but `judge` is fixed before anything is run."""

    id: str
    says: str
    """The claim in one sentence."""
    source: str
    """Authors, year, theorem or figure."""
    cost: Cost
    experiments: Mapping[str, Sequence[str]]
    """By name: a config (a path, or a file of `configs/claims`) and changes to it; claims that name the same ones share their runs."""
    observable: str
    expects: str
    """The law, or the ordering."""
    tolerance: str
    """What counts as agreement, and why."""
    judge: Callable[[Rows], JudgeOutput] = field(repr=False)
    needs: str = ""
    """What it takes beside a processor."""


@dataclass(frozen=True)
class Contradiction:
    """Claims that cannot both be true as they are usually put, and the condition that decides between them."""

    says: str
    sides: Sequence[tuple[str, Sequence[str]]]
    """What is said, and the ids of the claims here that bear it out."""
    decided_by: str


@cache
def claims() -> Mapping[str, Claim]:
    """All claims by id, built in and installed (entry points of the group `autophagy.claims`: modules with a `CLAIMS`), in order."""
    found: dict[str, Claim] = {}
    for module in _families():
        for claim in module.CLAIMS:
            if claim.id in found:
                raise UserError(f"two claims are called '{claim.id}'")
            found[claim.id] = claim
    return dict(sorted(found.items(), key=lambda item: _order(item[0])))


def contradictions() -> Sequence[Contradiction]:
    """All contradictions that families of claims name."""
    return [one for module in _families() for one in getattr(module, "CONTRADICTIONS", ())]


def _families() -> list:
    return [point.load() for point in sorted(entry_points(group="autophagy.claims"), key=lambda point: point.name)]


def _order(name: str) -> tuple[str, int, str]:
    """C2 before C10, C20 before C20b."""
    head, number, tail = re.fullmatch(r"(\D*)(\d*)(.*)", name).groups()
    return head, int(number or 0), tail


def chosen(ids: Sequence[str], cost: str | None) -> list[Claim]:
    """The claims that are asked for: by id (any case), or else all that cost no more than `cost`. UserError for an unknown id."""
    known = claims()
    if ids:
        by_name = {name.lower(): name for name in known}
        for name in ids:
            if name.lower() not in by_name:
                raise UserError(f"there is no claim '{name}'{did_you_mean(name, known)}; `autophagy claims` lists them")
        return [known[name] for name in known if name.lower() in {one.lower() for one in ids}]
    most = COSTS.index("gpu" if cost == "all" else cost)
    return [claim for claim in known.values() if COSTS.index(claim.cost) <= most]
