"""Content of the page about one run, computed from the run folder."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from ...analysis.metric_names import display_name, display_unit, feature_model
from ...analysis.run_folder import RunFolder
from ...analysis.series import Metric, mean
from ...analysis.summary import (
    ChainSummary,
    PolicySummary,
    describe_interval,
    find_controls,
    summarize_chains,
    summarize_policies,
)
from ...analysis.verdicts import verdicts
from . import breakdown_charts, headlines, metric_charts
from .samples import SampleStrip, SampleTable, read_samples

AXES = {
    "likelihood": "How well do the models predict real data, and how likely are the samples?",
    "fidelity": "Do samples resemble real data?",
    "diversity": "How varied are the samples?",
    "tail": "How much rare content is left?",
    "memorisation": "Do samples repeat training data?",
    "mixture": "How much of the training data is real, and what does curation keep?",
}
"""Axes of metrics in the order of the report, each with the question that it answers."""
HEADLINE_HEIGHT = 220
COMPANIONS = {"heldout_perplexity": ("heldout_nll", "bits_per_byte")}
"""Ids of metrics that are quoted together with a headline metric, by its id."""


def axis_charts(run: RunFolder, axis: str, policies: Sequence[str]) -> list[metric_charts.Chart]:
    """Build the charts of all metrics of an axis. Metrics of a family (`class_share/0`, ...) are in one chart.

    Excluded are standard errors, counts of training rows (see `training_chart`) and, if there is only one generator, shares by source.
    """
    single: list[metric_charts.Chart] = []
    families: dict[str, dict[str, Metric]] = {}
    for metric in run.metrics.values():
        family, _, member = metric.id.partition("/")
        if metric.axis != axis or family.startswith("trained_") or (family == "source_share" and len(run.generators) == 1):
            continue
        if member:
            families.setdefault(family, {})[member] = metric
        elif not metric.id.endswith("_se"):
            single.append(metric_charts.metric_chart(metric, policies, run.config))
    return single + [breakdown_charts.family_chart(members, family, run.config) for family, members in families.items()]


@dataclass(frozen=True)
class MetricRow:
    """A row of the table of all numbers."""

    metric: Metric
    name: str
    unit: str
    rows_measured: int
    first: float
    """Mean at generation 0."""
    ends: Mapping[str, Mapping[str, Any]]
    """Values at the last generation, by policy: a dictionary with `mean`, `low` and `high`."""


@dataclass(frozen=True)
class RunContext:
    """Content of the page about one run. `policies` are all policies of the report; their order determines the colours."""

    run: RunFolder
    policies: Sequence[str]

    @property
    def name(self) -> str:
        return self.run.name

    @property
    def interval(self) -> str:
        return describe_interval(self.run.seeds)

    @property
    def feature_model(self) -> str:
        return feature_model(self.run.config) or "none"

    def metric_name(self, metric: str) -> str:
        return display_name(metric, self.run.config)

    @cached_property
    def chains(self) -> list[ChainSummary]:
        return summarize_chains(self.run.metrics)

    @cached_property
    def summaries(self) -> list[PolicySummary]:
        return summarize_policies(self.chains, controls=find_controls(self.run.metrics))

    # ---- headlines

    @cached_property
    def ranking(self) -> list[PolicySummary]:
        """Summaries of the headline metric, one per policy. The policy that degrades first is at the top."""
        return headlines.rank_policies(self.summaries)

    @property
    def companions(self) -> list[PolicySummary]:
        """Summaries of metrics that are quoted with the headline metric, for the policy that degrades first.

        For perplexity, these are nats per token and bits per byte.
        """
        worst = self.ranking[0]
        ids = COMPANIONS.get(worst.metric, ())
        return [one for name in ids for one in self.summaries if one.metric == name and one.policy == worst.policy]

    @property
    def decimals(self) -> int:
        """Number of decimals at which the largest change of the headline metric has at least two digits."""
        greatest = max(abs(one.worse.mean) for one in self.ranking)
        return max(0, 1 - math.floor(math.log10(greatest))) if greatest > 0 else 0

    @cached_property
    def losses(self) -> headlines.Losses:
        return headlines.find_losses(self.summaries, self.ranking[0].policy)

    @property
    def headline_chart(self) -> metric_charts.Chart:
        return metric_charts.metric_chart(self.run.metrics[self.ranking[0].metric], self.policies, self.run.config, height=HEADLINE_HEIGHT)

    @cached_property
    def _samples(self) -> tuple[SampleTable, SampleStrip] | None:
        return read_samples(self.run)

    @property
    def samples(self) -> SampleTable | None:
        return self._samples[0] if self._samples else None

    @property
    def strip(self) -> SampleStrip | None:
        return self._samples[1] if self._samples else None

    # ---- tables

    @property
    def verdicts(self) -> list[headlines.VerdictRow]:
        return headlines.verdict_table(verdicts(self.chains, generations=self.run.generations), self.run.config)

    def charts_of(self, axis: str) -> list[metric_charts.Chart]:
        return axis_charts(self.run, axis, self.policies)

    @property
    def training_chart(self) -> metric_charts.Chart:
        return breakdown_charts.training_chart(self.run.metrics)

    @property
    def training_facts(self) -> list[tuple[str, float, float]]:
        """Costs of training (optimizer steps, tokens, ...): display name, smallest value and largest value of each."""
        costs = [metric for metric in self.run.metrics.values() if metric.axis == "cost"]
        return [
            (self.metric_name(one.id), min(chain.values.min() for chain in one.chains), max(chain.values.max() for chain in one.chains))
            for one in costs
        ]

    @property
    def numbers(self) -> list[MetricRow]:
        """Rows of the table of all numbers, one per metric."""
        return [self._metric_row(metric) for metric in self.run.metrics.values() if metric.axis not in ("mixture", "cost")]

    def _metric_row(self, metric: Metric) -> MetricRow:
        points = metric_charts.over_seeds(metric)
        return MetricRow(
            metric,
            self.metric_name(metric.id),
            display_unit(metric.unit),
            int(metric.chains[0].n[0]),
            mean(np.array([chain.values[0] for chain in metric.chains if chain.generations[0] == 0])),
            {point["policy"]: point for point in points if point["generation"] == self.run.generations},
        )

    @property
    def total_seconds(self) -> float:
        return sum(self.run.provenance.seconds.values())

    @property
    def peak_memory(self) -> str:
        """Range of the peak memory of a fit, as text. Empty if it was not recorded."""
        peak = self.run.provenance.peak_bytes
        if peak is None:
            return ""
        low, high = (f"{number / 1e9:.2f}" for number in peak)
        return f"{low} GB" if low == high else f"{low} to {high} GB"
