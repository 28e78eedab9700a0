"""The answers at the top of the report: which policy degrades first, which run degrades faster, what is lost first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...analysis.metric_names import HEADLINE_METRICS, display_name
from ...analysis.summary import PolicySummary
from ...analysis.verdicts import Answer, Verdict

COMPARABLE_AXES = ("fidelity", "diversity", "tail")
"""Axes whose metrics mean the same in every modality. Likelihoods have units of their own."""
MAX_LOSSES = 3
"""Metrics that are listed as lost without having reached their half-life."""


def headline_metric(policies: Sequence[PolicySummary]) -> str:
    """The id of the metric that a run is judged by: perplexity, else the Fréchet distance, else the first with a direction."""
    ids = [summary.metric for summary in policies]
    directed = [summary.metric for summary in policies if summary.higher_is_better is not None]
    return next((metric for metric in HEADLINE_METRICS if metric in ids), (directed or ids)[0])


def rank_policies(policies: Sequence[PolicySummary]) -> list[PolicySummary]:
    """The policies by the headline metric: the earliest onset first, then the greatest change for the worse.

    A policy has an onset if all of its chains have one.
    """
    headline = headline_metric(policies)
    own = [summary for summary in policies if summary.metric == headline]
    return sorted(own, key=lambda one: (one.onset if one.all_beyond_noise else math.inf, -one.worse.mean))


@dataclass(frozen=True)
class Losses:
    """What a policy loses of diversity and tails, beyond noise in every chain."""

    halved: Sequence[PolicySummary]
    """Metrics that lost half of generation 0's value, the earliest half-life first."""
    others: Sequence[PolicySummary]
    """Other metrics, the greatest loss first; at most MAX_LOSSES."""
    measured: bool
    """Whether the run measures anything that can be lost."""

    @property
    def all(self) -> list[PolicySummary]:
        return [*self.halved, *self.others]


def find_losses(policies: Sequence[PolicySummary], policy: str) -> Losses:
    """What a policy loses first."""
    can_be_lost = [one for one in policies if one.policy == policy and one.axis in ("diversity", "tail") and one.higher_is_better is True]
    lost = [one for one in can_be_lost if one.all_beyond_noise]
    halved = sorted((one for one in lost if one.all_halved), key=lambda one: one.half_life)
    others = sorted((one for one in lost if not one.all_halved), key=lambda one: one.ratio.mean)
    return Losses(halved, others[:MAX_LOSSES], bool(can_be_lost))


# ---- comparing runs -----------------------------------------------------------------------------------------------------


def comparable_metrics(runs: Mapping[str, Sequence[PolicySummary]]) -> list[str]:
    """The ids of directed metrics of fidelity, diversity and tails that all runs have and in which a change can be expressed.

    In every run generation 0 must differ from the floor and, for metrics that can be lost, from zero.
    """
    first = next(iter(runs.values()))
    candidates = dict.fromkeys(one.metric for one in first if one.axis in COMPARABLE_AXES and one.higher_is_better is not None)
    return [metric for metric in candidates if all(_has_scale([one for one in own if one.metric == metric]) for own in runs.values())]


def _has_scale(summaries: Sequence[PolicySummary]) -> bool:
    return bool(summaries) and min(abs(_above_floor(summaries)), abs(_unit_of_change(summaries))) > 1e-9


def _above_floor(summaries: Sequence[PolicySummary]) -> float:
    """Generation 0's distance from the floor, averaged over policies."""
    return _mean([one.first.mean for one in summaries]) - _mean([one.floor for one in summaries])


def _unit_of_change(summaries: Sequence[PolicySummary]) -> float:
    """What changes are divided by: the value at generation 0 if it can be lost, else generation 0's distance from the floor."""
    return _mean([one.first.mean for one in summaries]) if summaries[0].higher_is_better else _above_floor(summaries)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


@dataclass(frozen=True)
class Change:
    """A change for the worse since generation 0, in units of `_unit_of_change`: mean and interval over seeds."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Which of two runs degrades further under the policy, common to both, that degrades most."""

    metric: str
    """The first comparable metric, which decides."""
    policy: str
    further: str
    other: str
    changes: Mapping[str, Change]
    """By run."""
    agreeing: int
    """Comparable metrics on which the same run degrades further, out of `metrics`."""
    metrics: int
    disagreeing: Sequence[str]
    """The ids of the others."""

    @property
    def significant(self) -> bool:
        """Whether the intervals of the two runs do not overlap."""
        return self.changes[self.further].low > self.changes[self.other].high


def compare_runs(runs: Mapping[str, Sequence[PolicySummary]]) -> Comparison | None:
    """Compare two runs. None unless there are exactly two and they have a comparable metric and a policy in common."""
    common = set.intersection(*({one.policy for one in own} for own in runs.values()))
    metrics = comparable_metrics(runs) if len(runs) == 2 and common else []
    if not metrics:
        return None
    changes = {metric: {run: _changes([one for one in own if one.metric == metric]) for run, own in runs.items()} for metric in metrics}
    decisive = changes[metrics[0]]
    policy = max(sorted(common), key=lambda one: sum(own[one].mean for own in decisive.values()))
    further = {metric: max(own, key=lambda run: own[run][policy].mean) for metric, own in changes.items()}
    first, second = sorted(runs, key=lambda run: -decisive[run][policy].mean)
    return Comparison(
        metric=metrics[0],
        policy=policy,
        further=first,
        other=second,
        changes={run: own[policy] for run, own in decisive.items()},
        agreeing=sum(run == first for run in further.values()),
        metrics=len(metrics),
        disagreeing=[metric for metric, run in further.items() if run != first],
    )


def _changes(summaries: Sequence[PolicySummary]) -> dict[str, Change]:
    """How far each policy has moved for the worse since generation 0."""
    unit = abs(_unit_of_change(summaries))
    return {one.policy: Change(one.worse.mean / unit, one.worse.low / unit, one.worse.high / unit) for one in summaries}


# ---- verdicts -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """A verdict as the table shows it."""

    answer: Answer
    text: str
    """'yes', 'partly (2 of 5 metrics)', ..."""
    evidence: str
    """What each metric shows."""


@dataclass(frozen=True)
class VerdictRow:
    """A definition of collapse with a cell for each policy."""

    definition: str
    criterion: str
    cells: dict[str, Cell]


def verdict_table(verdicts: Iterable[Verdict], config: Mapping[str, object]) -> list[VerdictRow]:
    """A row for each definition of collapse."""
    rows: dict[str, VerdictRow] = {}
    for verdict in verdicts:
        row = rows.setdefault(verdict.definition, VerdictRow(verdict.definition, verdict.criterion, {}))
        evidence = "; ".join(f"{display_name(metric, config)}: {_evidence(share)}" for metric, share in verdict.shares.items())
        row.cells[verdict.policy] = Cell(verdict.answer, _verdict_text(verdict), evidence)
    return list(rows.values())


def _verdict_text(verdict: Verdict) -> str:
    """The answer; 'partly' names how many metrics show it in all chains, or else in some."""
    if verdict.answer != "partly":
        return verdict.answer
    full = sum(share == 1 for share in verdict.shares.values())
    some = sum(share > 0 for share in verdict.shares.values())
    count = f"{full} of {len(verdict.shares)} metrics" if full else f"{some} of {len(verdict.shares)} metrics, some chains"
    return f"partly ({count})"


def _evidence(share: float) -> str:
    return {1.0: "yes", 0.0: "no"}.get(share, f"{share:.0%} of chains")
