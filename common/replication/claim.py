"""Claims: published statements about model collapse, each with its experiments and a *judge* (a function of rows that returns checks).

    claim ──► experiments ──► run ──► rows ──► judge ──► checks ──► verdict

A claim holds if all checks hold. It fails if one check fails. Otherwise it is inconclusive.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import entry_points
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, get_args

from pydantic import Field

from ..core.errors import UserError, did_you_mean
from .schema import Check, CheckVerdict, Contradiction, Cost, Curve, Figure, PublishedClaim
from .statistical_checks import Estimate, estimate_at

if TYPE_CHECKING:
    import pandas

COSTS: tuple[Cost, ...] = get_args(Cost)
CONFIGS = Path(__file__).resolve().parents[2] / "configs" / "claims"

Rows = Mapping[str, "pandas.DataFrame"]
"""Rows of a claim's experiments, by experiment name."""


# ---- figures ------------------------------------------------------------------------------------------------------------


def measured_curve(label: str, x: Sequence[float], estimates: Sequence[Estimate]) -> Curve:
    """Build a curve of measured points with their 95 % intervals."""
    intervals = [estimate.interval for estimate in estimates]
    return Curve(
        label=label,
        x=list(x),
        y=[estimate.value for estimate in estimates],
        low=[low for low, _ in intervals],
        high=[high for _, high in intervals],
    )


def over_generations(label: str, rows: pandas.DataFrame, metric: str, policy: str) -> Curve:
    """Build a curve of a metric under one policy, as measured at every generation."""
    generations = sorted(int(number) for number in rows[(rows.metric == metric) & (rows.policy == policy)].generation.unique())
    return measured_curve(label, generations, [estimate_at(rows, metric, policy, number) for number in generations])


def law_curve(label: str, law: Callable[[int], float], generations: int) -> Curve:
    """Build a curve of a law at generations 0 to `generations`."""
    return law_points(label, range(generations + 1), law)


def law_points(label: str, x: Iterable[int | float], law: Callable[..., float]) -> Curve:
    """Build a curve of a law at the points `x`."""
    points = list(x)
    return Curve(label=label, x=points, y=[law(point) for point in points], law=True)


def law_and_measured(
    label: str, rows: pandas.DataFrame, metric: str, policy: str, law: Callable[[int], float], *, generations: int
) -> list[Curve]:
    """Build two curves over generations: a law and its measurements. The report draws both in the same colour."""
    return [law_curve(f"law: {label}", law, generations), over_generations(f"measured: {label}", rows, metric, policy)]


def generation_figure(y: str, curves: Sequence[Curve], *, log_y: bool = False) -> Figure:
    """Build a figure of curves over generations. `y` is the title of the y axis."""
    return Figure(x="generation", y=y, curves=list(curves), log_y=log_y)


# ---- claims -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class JudgeOutput:
    """Return value of a judge: checks, the most informative one first, and a figure."""

    checks: Sequence[Check]
    figure: Figure
    note: str = ""
    """Explanation for readers of the report, computed from the numbers."""

    @property
    def verdict(self) -> CheckVerdict:
        verdicts = {check.verdict for check in self.checks}
        return "fails" if "fails" in verdicts else "inconclusive" if "inconclusive" in verdicts or not verdicts else "holds"


class Claim(PublishedClaim):
    """A published claim with its judge. All fields are fixed before an experiment runs."""

    judge: Callable[..., JudgeOutput] = Field(repr=False, exclude=True)
    """Function that takes the `Rows` of the claim's experiments and returns a `JudgeOutput`."""


@cache
def claims() -> Mapping[str, Claim]:
    """Return all claims, both built-in and from installed packages, by id and sorted by id.

    Claims come from entry points of the group `autophagy.claims`. Each entry point is a module with a sequence `CLAIMS`. Raises UserError
    if two claims have the same id.
    """
    by_id: dict[str, Claim] = {}
    for module in _modules():
        for claim in module.CLAIMS:
            if claim.id in by_id:
                raise UserError(f"claim id '{claim.id}' is used twice, the second time in {module.__name__}; ids must be unique")
            by_id[claim.id] = claim
    return dict(sorted(by_id.items(), key=lambda item: _sort_key(item[0])))


def contradictions() -> Sequence[Contradiction]:
    """Return the contradictions of all claim modules (the sequence `CONTRADICTIONS` of each module)."""
    return [contradiction for module in _modules() for contradiction in getattr(module, "CONTRADICTIONS", ())]


def _modules() -> list[ModuleType]:
    return [point.load() for point in sorted(entry_points(group="autophagy.claims"), key=lambda point: point.name)]


def _sort_key(claim_id: str) -> tuple[str, int, str]:
    """Return a key that sorts C2 before C10, and C20 before C20b."""
    match = re.fullmatch(r"(\D*)(\d*)(.*)", claim_id, re.DOTALL)
    assert match is not None
    head, number, tail = match.groups()
    return head, int(number or 0), tail


def select_claims(ids: Sequence[str], cost: str | None) -> list[Claim]:
    """Select claims by id (in upper or lower case) or, if `ids` is empty, all claims up to the cost class `cost`.

    Raises UserError for an unknown id.
    """
    known = claims()
    if ids:
        lower_ids = {claim_id.lower() for claim_id in known}
        for claim_id in ids:
            if claim_id.lower() not in lower_ids:
                raise UserError(f"unknown claim '{claim_id}'{did_you_mean(claim_id, known)}; `autophagy claims` lists all claims")
        selected = {claim_id.lower() for claim_id in ids}
        return [claim for claim in known.values() if claim.id.lower() in selected]
    limit = len(COSTS) - 1 if cost in (None, "all") else [*COSTS].index(cost)  # type: ignore[arg-type]
    return [claim for claim in known.values() if COSTS.index(claim.cost) <= limit]
