"""Main results at the top of the report: first policy to degrade, run that degrades further, and metrics that are lost first."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from ...analysis.metric_names import HEADLINE_METRICS, display_name
from ...analysis.summary import PolicySummary
from ...analysis.verdicts import Answer, Verdict

COMPARABLE_AXES = ("fidelity", "diversity", "tail")
"""Axes whose metrics have the same meaning in every modality. Likelihoods are excluded because their units differ."""
MAX_LOSSES = 3
"""Maximum number of listed losses that have not reached their half-life."""


def headline_metric(policies: Sequence[PolicySummary]) -> str:
    """Return the id of the headline metric: perplexity, else the Fréchet distance, else the first metric with a direction."""
    ids = [summary.metric for summary in policies]
    directed = [summary.metric for summary in policies if summary.higher_is_better is not None]
    return next((metric for metric in HEADLINE_METRICS if metric in ids), (directed or ids)[0])


def rank_policies(policies: Sequence[PolicySummary]) -> list[PolicySummary]:
    """Rank policies by the headline metric: the earliest onset first, and within equal onsets the largest change for the worse first.

    The onset of a policy counts only if all its chains have an onset. Policies without an onset are last.
    """
    headline = headline_metric(policies)
    own = [summary for summary in policies if summary.metric == headline]
    return sorted(own, key=lambda one: (one.onset if one.all_beyond_noise else math.inf, -one.worse.mean))


@dataclass(frozen=True)
class Losses:
    """Diversity and tail metrics that decrease under a policy, beyond noise in every chain."""

    halved: Sequence[PolicySummary]
    """Metrics that fell to half of their value at generation 0, the earliest half-life first."""
    others: Sequence[PolicySummary]
    """Other metrics, the largest loss first, at most MAX_LOSSES."""
    measured: bool
    """True if the run has any diversity or tail metric for which higher is better."""

    @property
    def all(self) -> list[PolicySummary]:
        return [*self.halved, *self.others]


def find_losses(policies: Sequence[PolicySummary], policy: str) -> Losses:
    """Find the diversity and tail metrics that decrease under a policy."""
    can_be_lost = [one for one in policies if one.policy == policy and one.axis in ("diversity", "tail") and one.higher_is_better is True]
    lost = [one for one in can_be_lost if one.all_beyond_noise]
    halved = sorted((one for one in lost if one.all_halved), key=lambda one: one.half_life)
    others = sorted((one for one in lost if not one.all_halved), key=lambda one: one.ratio.mean)
    return Losses(halved, others[:MAX_LOSSES], bool(can_be_lost))


# ---- comparing runs -----------------------------------------------------------------------------------------------------


def comparable_metrics(runs: Mapping[str, Sequence[PolicySummary]]) -> list[str]:
    """Return the ids of metrics by which runs can be compared.

    These are the fidelity, diversity and tail metrics that have a direction and that all runs have. In every run, generation 0 must differ
    from the floor and, if higher is better, from zero. Otherwise changes cannot be scaled.
    """
    first = next(iter(runs.values()))
    candidates = dict.fromkeys(one.metric for one in first if one.axis in COMPARABLE_AXES and one.higher_is_better is not None)
    return [metric for metric in candidates if all(_has_scale([one for one in own if one.metric == metric]) for own in runs.values())]


def _has_scale(summaries: Sequence[PolicySummary]) -> bool:
    return bool(summaries) and min(abs(_above_floor(summaries)), abs(_unit_of_change(summaries))) > 1e-9


def _above_floor(summaries: Sequence[PolicySummary]) -> float:
    """Compute the mean difference between generation 0 and the floor over policies."""
    return _mean([one.first.mean for one in summaries]) - _mean([one.floor for one in summaries])


def _unit_of_change(summaries: Sequence[PolicySummary]) -> float:
    """Compute the divisor of changes: the value at generation 0 if higher is better, else its difference from the floor."""
    return _mean([one.first.mean for one in summaries]) if summaries[0].higher_is_better else _above_floor(summaries)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


@dataclass(frozen=True)
class Change:
    """Change for the worse since generation 0, divided by `_unit_of_change`: mean and interval over seeds."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """Comparison of two runs under one policy: of the policies that both runs have, the one that degrades most."""

    metric: str
    """Id of the metric that decides the comparison: the first comparable one."""
    policy: str
    further: str
    """Name of the run that degrades further."""
    other: str
    """Name of the other run."""
    higher_is_better: bool
    """Direction of the metric. It decides what changes are divided by, see `_unit_of_change`."""
    changes: Mapping[str, Change]
    """Change of each run, by the name of the run."""
    agreeing: int
    """Number of comparable metrics by which the same run degrades further."""
    metrics: int
    """Number of all comparable metrics."""
    disagreeing: Sequence[str]
    """Ids of the comparable metrics by which the other run degrades further."""

    @property
    def significant(self) -> bool:
        """True if the intervals of the two runs do not overlap."""
        return self.changes[self.further].low > self.changes[self.other].high


def compare_runs(runs: Mapping[str, Sequence[PolicySummary]]) -> Comparison | None:
    """Compare two runs.

    Returns None if there are not exactly two runs, or if they have no comparable metric or no common policy.
    """
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
        higher_is_better=any(one.metric == metrics[0] and one.higher_is_better for one in runs[first]),
        changes={run: own[policy] for run, own in decisive.items()},
        agreeing=sum(run == first for run in further.values()),
        metrics=len(metrics),
        disagreeing=[metric for metric, run in further.items() if run != first],
    )


def _changes(summaries: Sequence[PolicySummary]) -> dict[str, Change]:
    """Compute the change for the worse since generation 0, by policy."""
    unit = abs(_unit_of_change(summaries))
    return {one.policy: Change(one.worse.mean / unit, one.worse.low / unit, one.worse.high / unit) for one in summaries}


# ---- verdicts -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cell:
    """One cell of the table of verdicts."""

    answer: Answer
    text: str
    """'yes', 'partly (2 of 5 metrics)', ..."""
    evidence: str
    """Result of each metric, shown as a tooltip."""


@dataclass(frozen=True)
class VerdictRow:
    """One row of the table of verdicts: a definition of collapse with a cell for each policy."""

    definition: str
    criterion: str
    cells: dict[str, Cell]


def verdict_table(verdicts: Iterable[Verdict], config: Mapping[str, object]) -> list[VerdictRow]:
    """Build the table of verdicts, with one row for each definition of collapse."""
    rows: dict[str, VerdictRow] = {}
    for verdict in verdicts:
        row = rows.setdefault(verdict.definition, VerdictRow(verdict.definition, verdict.criterion, {}))
        evidence = "; ".join(f"{display_name(metric, config)}: {_evidence(share)}" for metric, share in verdict.shares.items())
        row.cells[verdict.policy] = Cell(verdict.answer, _verdict_text(verdict), evidence)
    return list(rows.values())


def _verdict_text(verdict: Verdict) -> str:
    """Return the answer as text. For 'partly', adds the number of metrics that meet the definition in all chains, or else in some."""
    if verdict.answer != "partly":
        return verdict.answer
    full = sum(share == 1 for share in verdict.shares.values())
    some = sum(share > 0 for share in verdict.shares.values())
    count = f"{full} of {len(verdict.shares)} metrics" if full else f"{some} of {len(verdict.shares)} metrics, some chains"
    return f"partly ({count})"


def _evidence(share: float) -> str:
    return {1.0: "yes", 0.0: "no"}.get(share, f"{share:.0%} of chains")
