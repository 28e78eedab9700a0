"""Claims: published statements about model collapse, each with the experiments that test it and a function that judges the results.

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
"""The rows of each experiment of a claim, by the experiment's name."""


# ---- figures ------------------------------------------------------------------------------------------------------------


def measured_curve(label: str, x: Sequence[float], estimates: Sequence[Estimate]) -> Curve:
    """Measured points with their 95 % intervals."""
    intervals = [estimate.interval for estimate in estimates]
    return Curve(
        label=label,
        x=list(x),
        y=[estimate.value for estimate in estimates],
        low=[low for low, _ in intervals],
        high=[high for _, high in intervals],
    )


def over_generations(label: str, rows: pandas.DataFrame, metric: str, policy: str) -> Curve:
    """A metric of a policy, measured at every generation."""
    generations = sorted(int(number) for number in rows[(rows.metric == metric) & (rows.policy == policy)].generation.unique())
    return measured_curve(label, generations, [estimate_at(rows, metric, policy, number) for number in generations])


def law_curve(label: str, law: Callable[[int], float], generations: int) -> Curve:
    """A law at generations 0 to `generations`."""
    return law_points(label, range(generations + 1), law)


def law_points(label: str, x: Iterable[int | float], law: Callable[..., float]) -> Curve:
    """A law at any points of the x axis."""
    points = list(x)
    return Curve(label=label, x=points, y=[law(point) for point in points], law=True)


def law_and_measured(
    label: str, rows: pandas.DataFrame, metric: str, policy: str, law: Callable[[int], float], *, generations: int
) -> list[Curve]:
    """A law and the measurements of it over generations; a report draws the two in one colour."""
    return [law_curve(f"law: {label}", law, generations), over_generations(f"measured: {label}", rows, metric, policy)]


def generation_figure(y: str, curves: Sequence[Curve], *, log_y: bool = False) -> Figure:
    """Curves over generations; `y` is the title of the y axis."""
    return Figure(x="generation", y=y, curves=list(curves), log_y=log_y)


# ---- claims -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class JudgeOutput:
    """What a judge returns: its checks, the most informative one first, and a figure."""

    checks: Sequence[Check]
    figure: Figure
    note: str = ""
    """Context for the reader, computed from the numbers."""

    @property
    def verdict(self) -> CheckVerdict:
        verdicts = {check.verdict for check in self.checks}
        return "fails" if "fails" in verdicts else "inconclusive" if "inconclusive" in verdicts or not verdicts else "holds"


class Claim(PublishedClaim):
    """A published claim with its judge. Everything is fixed before an experiment runs."""

    judge: Callable[..., JudgeOutput] = Field(repr=False, exclude=True)
    """A function of `Rows`: judges the rows of the claim's experiments."""


@cache
def claims() -> Mapping[str, Claim]:
    """All claims by id, in order: built-in ones and those of installed packages.

    The entry points of the group `autophagy.claims` are modules with a sequence `CLAIMS`.
    """
    by_id: dict[str, Claim] = {}
    for module in _modules():
        for claim in module.CLAIMS:
            if claim.id in by_id:
                raise UserError(f"claim id '{claim.id}' is used twice, the second time in {module.__name__}; ids must be unique")
            by_id[claim.id] = claim
    return dict(sorted(by_id.items(), key=lambda item: _sort_key(item[0])))


def contradictions() -> Sequence[Contradiction]:
    """The contradictions that the modules of claims list as `CONTRADICTIONS`."""
    return [contradiction for module in _modules() for contradiction in getattr(module, "CONTRADICTIONS", ())]


def _modules() -> list[ModuleType]:
    return [point.load() for point in sorted(entry_points(group="autophagy.claims"), key=lambda point: point.name)]


def _sort_key(claim_id: str) -> tuple[str, int, str]:
    """Sorts C2 before C10, and C20 before C20b."""
    match = re.fullmatch(r"(\D*)(\d*)(.*)", claim_id, re.DOTALL)
    assert match is not None
    head, number, tail = match.groups()
    return head, int(number or 0), tail


def select_claims(ids: Sequence[str], cost: str | None) -> list[Claim]:
    """The claims with the given ids (upper or lower case) or, without ids, all that cost at most `cost`. UserError for an unknown id."""
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
