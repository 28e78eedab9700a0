"""Conversion of rows to time series: one array over generations for each metric and chain.

A *chain* is one policy with one seed (and one generator). Statistics, charts and verdicts are computed from these series.

    series = metric_series(pyarrow.parquet.read_table("rows.parquet").to_pydict())   # or pandas.read_parquet(...).to_dict("list")
    series["heldout_nll"].chains[0].values          # float64 [generations]
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

COLUMNS = ("metric", "generator", "policy", "seed", "generation", "value", "floor", "floor_sd", "n")
"""Columns of rows.parquet that `metric_series` reads for each row."""


@dataclass(frozen=True)
class Chain:
    """Values of one metric in one chain, sorted by generation."""

    generator: str
    policy: str
    seed: int
    generations: np.ndarray
    """int64 [g]"""
    values: np.ndarray
    """float64 [g]"""
    floors: np.ndarray
    """float64 [g]; NaN if the metric has no floor."""
    floor_sds: np.ndarray
    """float64 [g]: standard deviation between the draws of the floor. NaN if the metric has no floor or the floor a single draw."""
    n: np.ndarray
    """int64 [g]: number of rows that each value was computed from."""

    @property
    def key(self) -> tuple[str, str, int]:
        return self.generator, self.policy, self.seed


@dataclass(frozen=True)
class Metric:
    """One metric of a run, with one series per chain. Chains are in the order of the rows."""

    id: str
    axis: str
    unit: str
    higher_is_better: bool | None
    chains: Sequence[Chain]

    @cached_property
    def policies(self) -> list[str]:
        return list(dict.fromkeys(chain.policy for chain in self.chains))

    def of(self, policy: str) -> list[Chain]:
        """Return the chains of a policy, one per seed."""
        return [chain for chain in self.chains if chain.policy == policy]

    @property
    def floor(self) -> float:
        """Mean floor over chains and generations. NaN if there are no floors."""
        return mean(np.concatenate([chain.floors for chain in self.chains]))

    @property
    def floor_sd(self) -> float:
        """Mean standard deviation between the draws of a floor, over chains and generations. NaN if there are no floors."""
        return mean(np.concatenate([chain.floor_sds for chain in self.chains]))

    @property
    def last_generation(self) -> int:
        return max(int(chain.generations[-1]) for chain in self.chains)


def metric_series(rows: Mapping[str, Sequence[Any]]) -> dict[str, Metric]:
    """Group rows by metric and chain. `rows` are columns of equal length, by name. Metrics and chains keep the order of the rows."""
    groups: dict[str, dict[tuple[str, str, int], list[tuple[Any, ...]]]] = {}
    first: dict[str, int] = {}
    for number, (metric, generator, policy, seed, *numbers) in enumerate(zip(*(rows[name] for name in COLUMNS), strict=True)):
        if metric not in groups:
            groups[metric], first[metric] = {}, number
        groups[metric].setdefault((generator, policy, seed), []).append(tuple(numbers))
    metrics = {}
    for metric, chains in groups.items():
        axis, unit, better = (rows[name][first[metric]] for name in ("axis", "unit", "higher_is_better"))
        directed = None if better is None or better != better else bool(better)
        metrics[metric] = Metric(metric, axis, unit, directed, [_chain(*key, points) for key, points in chains.items()])
    return metrics


def _chain(generator: str, policy: str, seed: int, points: list[tuple[Any, ...]]) -> Chain:
    generations, values, floors, floor_sds, n = zip(*sorted(points, key=lambda point: point[0]), strict=True)
    return Chain(
        generator,
        policy,
        int(seed),
        generations=np.array(generations, dtype=np.int64),
        values=np.array(values, dtype=np.float64),
        floors=np.array(floors, dtype=np.float64),  # None becomes NaN
        floor_sds=np.array(floor_sds, dtype=np.float64),
        n=np.array(n, dtype=np.int64),
    )


def mean(values: np.ndarray) -> float:
    """Return the mean of the values that are not NaN. Without such values, returns NaN and gives no warning."""
    values = values[~np.isnan(values)]
    return float(values.mean()) if len(values) else float("nan")
