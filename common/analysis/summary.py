"""Statistics of a run: onset, half-life, slope and change of each metric, per chain and per policy with intervals over chains.

The chain is the unit of replication. Generations of one chain depend on each other, so they never count as independent observations.

    metrics = metric_series(rows)
    chains = summarize_chains(metrics)
    policies = summarize_policies(chains, controls=find_controls(metrics))
    pandas.DataFrame(chains)                 # all results are lists of dataclasses
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..core.random_streams import stream
from .series import Chain, Metric, mean

MIN_CHAINS_FOR_BOOTSTRAP = 5
BOOTSTRAP_DRAWS = 4000
NOISE_SDS = 2.0
"""Limit of noise: a difference is beyond noise if it exceeds this number of standard deviations."""
NAN = float("nan")


# ---- intervals ----------------------------------------------------------------------------------------------------------


def interval(values: np.ndarray) -> tuple[float, float]:
    """Compute a 95 % interval for the mean of `values`, float64 [chains], by the percentile bootstrap (Efron 1979) with fixed draws.

    With fewer than five chains a bootstrap does not reach 95 % coverage, so the result is (min, max). The range of k chains contains the
    median of the distribution with probability 1 - 2^(1 - k): 50 % for two chains, 75 % for three.
    """
    if len(values) < MIN_CHAINS_FOR_BOOTSTRAP:
        return float(values.min()), float(values.max())
    draws = stream(0, "bootstrap").integers(len(values), size=(BOOTSTRAP_DRAWS, len(values)))
    low, high = np.quantile(values[draws].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def describe_interval(seeds: int) -> str:
    """Return a description of the result of `interval` for this number of seeds, for example 'range of 3 seeds'."""
    if seeds == 1:
        return "one seed, no interval"
    return "95 % bootstrap interval over seeds" if seeds >= MIN_CHAINS_FOR_BOOTSTRAP else f"range of {seeds} seeds"


@dataclass(frozen=True)
class Estimate:
    """Mean over chains with its interval. All three numbers are NaN if there is no chain or the value of a chain is NaN."""

    mean: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Estimate:
        array = np.array(values, dtype=np.float64)
        if not len(array) or np.isnan(array).any():
            return cls(NAN, NAN, NAN)
        return cls(float(array.mean()), *interval(array))


# ---- chains -------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class ChainSummary:
    """Statistics of one metric in one chain (policy, seed).

    first, last    values at generation 0 and at the last generation
    ratio          last / first
    worse          change for the worse, last - first. Positive means worse (for metrics without a direction: positive means higher).
    noise          twice the standard deviation of a difference from generation 0 that is due to chance, at the last generation. Three
                   sources give an estimate, and the largest is used: the spread of the floors, the standard error of the metric
                   (`<metric>_se`) and the chains of the control.
    onset          first generation from which on every value is worse than generation 0 and than the floor by more than the noise.
                   NaN if there is none.
    slope          least-squares slope over generations, in units of the metric per generation
    half_life      interpolated generation at which the value has fallen to half of generation 0's. If lower is better: at which it has
                   doubled. NaN if this is not reached.
    early, late    change for the worse per generation, in the first and in the second half of the chain
    """

    metric: str
    axis: str
    unit: str
    higher_is_better: bool | None
    generator: str
    policy: str
    seed: int
    floor: float
    floor_sd: float
    noise: float
    first: float
    last: float
    ratio: float
    worse: float
    onset: float
    slope: float
    half_life: float
    early: float
    late: float


def summarize_chains(metrics: Mapping[str, Metric]) -> list[ChainSummary]:
    """Summarize every metric of every chain, in the order of the rows.

    Excluded are members of metric families (`x/1`), standard errors (`x_se`) and metrics of the axes mixture and cost.
    """
    controls = find_controls(metrics)
    return [
        _summarize(metric, chain, noise=_noise(metric, chain, metrics.get(f"{metric.id}_se"), controls.get(chain.generator)))
        for metric in metrics.values()
        if metric.axis not in ("mixture", "cost") and "/" not in metric.id and not metric.id.endswith("_se")
        for chain in metric.chains
    ]


def _summarize(metric: Metric, chain: Chain, *, noise: np.ndarray) -> ChainSummary:
    """Summarize one metric of one chain. `noise` is float64 [generations + 1]."""
    values, last = chain.values, len(chain.values) - 1
    sign = -1.0 if metric.higher_is_better else 1.0
    floor = mean(chain.floors)
    worse = sign * (values - values[0])
    start = 0.0 if np.isnan(floor) else max(0.0, sign * (floor - values[0]))  # > 0 if generation 0 is better than the floor
    beyond = worse > start + noise
    within = np.flatnonzero(~beyond)
    middle = max(1, last // 2)
    return ChainSummary(
        metric=metric.id,
        axis=metric.axis,
        unit=metric.unit,
        higher_is_better=metric.higher_is_better,
        generator=chain.generator,
        policy=chain.policy,
        seed=chain.seed,
        floor=floor,
        floor_sd=mean(chain.floor_sds),
        noise=float(noise[-1]),
        first=float(values[0]),
        last=float(values[-1]),
        ratio=float(values[-1] / values[0]) if values[0] else NAN,
        worse=float(worse[-1]),
        onset=float(within[-1] + 1) if beyond[-1] else NAN,
        slope=_slope(values),
        half_life=_half_life(values, sign),
        early=float(worse[middle] / middle),
        late=float((worse[-1] - worse[middle]) / max(1, last - middle)),
    )


def _slope(values: np.ndarray) -> float:
    """Compute the least-squares slope of `values`, float64 [g], over generations. NaN for a single generation."""
    generations = np.arange(len(values)) - (len(values) - 1) / 2
    return float((generations @ (values - values.mean())) / (generations @ generations)) if len(values) > 1 else NAN


def _half_life(values: np.ndarray, sign: float) -> float:
    """Compute the generation, interpolated, at which `values` have doubled (sign 1) or halved (sign -1).

    NaN if they never do, or if the value at generation 0 is not positive.
    """
    if not values[0] > 0:
        return NAN
    level = values[0] * (2.0 if sign > 0 else 0.5)
    reached = np.flatnonzero(sign * (values - level) >= 0)
    if not reached.size or reached[0] == 0:
        return NAN
    after = int(reached[0])
    return float(after - 1 + (level - values[after - 1]) / (values[after] - values[after - 1]))


def _noise(metric: Metric, chain: Chain, errors: Metric | None, control: str | None) -> np.ndarray:
    """Compute twice the standard deviation of a difference from generation 0. Returns float64 [generations + 1]."""
    error = next((one.values for one in (errors.chains if errors else ()) if one.key == chain.key), np.zeros(len(chain.values)))
    floors = chain.floor_sds[~np.isnan(chain.floor_sds)]
    scatter = np.sqrt(2) * floors.max() if len(floors) else 0.0
    refitting = _rms_change(metric.of(control)) if control else 0.0
    return np.asarray(NOISE_SDS * np.maximum(np.sqrt(error**2 + error[0] ** 2), max(scatter, refitting)))


def _rms_change(chains: Sequence[Chain]) -> float:
    """Compute the root mean square of all differences from generation 0. In the chains of a control these are due to chance alone."""
    changes = [chain.values[1:] - chain.values[0] for chain in chains]
    squares = np.concatenate(changes) ** 2 if changes else np.zeros(0)
    return float(np.sqrt(squares.mean())) if len(squares) else 0.0


def find_controls(metrics: Mapping[str, Metric]) -> dict[str, str]:
    """Find the control policy of each generator: the first policy whose training rows are all real in every generation.

    The share of real rows (metric `real_share`) is counted by the audit during training.
    """
    controls: dict[str, str] = {}
    for chain in metrics["real_share"].chains if "real_share" in metrics else ():
        if all(one.values.min() == 1 for one in metrics["real_share"].of(chain.policy) if one.generator == chain.generator):
            controls.setdefault(chain.generator, chain.policy)
    return controls


# ---- policies -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class PolicySummary:
    """Statistics of one metric under one policy: means over chains with intervals. `ChainSummary` defines the quantities.

    from_control    difference in `worse` between the chain and the control chain of the same seed. Both have the same generation 0.
    onset           mean over the chains that have an onset
    onsets          number of chains that have an onset
    half_life       mean over the chains that reach their half-life
    half_lives      number of chains that reach their half-life
    """

    metric: str
    axis: str
    unit: str
    higher_is_better: bool | None
    generator: str
    policy: str
    seeds: int
    floor: float
    floor_sd: float
    first: Estimate
    last: Estimate
    worse: Estimate
    from_control: Estimate
    ratio: Estimate
    slope: Estimate
    onset: float
    onsets: int
    half_life: float
    half_lives: int

    @property
    def all_beyond_noise(self) -> bool:
        """True if every chain has an onset, that is, ends beyond noise."""
        return self.onsets == self.seeds

    @property
    def all_halved(self) -> bool:
        """True if every chain reaches its half-life."""
        return self.half_lives == self.seeds


def summarize_policies(chains: Sequence[ChainSummary], *, controls: Mapping[str, str]) -> list[PolicySummary]:
    """Summarize every metric of every policy, in the order of `chains`. `controls` maps each generator to its control policy."""
    groups: dict[tuple[str, str], list[ChainSummary]] = {}
    for chain in chains:
        groups.setdefault((chain.metric, chain.policy), []).append(chain)
    return [_summarize_policy(own, groups.get((metric, controls.get(own[0].generator, "")), ())) for (metric, _), own in groups.items()]


def _summarize_policy(own: Sequence[ChainSummary], control: Sequence[ChainSummary]) -> PolicySummary:
    one = own[0]
    control_worse = {chain.seed: chain.worse for chain in control}
    onsets = [chain.onset for chain in own if not np.isnan(chain.onset)]
    half_lives = [chain.half_life for chain in own if not np.isnan(chain.half_life)]
    return PolicySummary(
        metric=one.metric,
        axis=one.axis,
        unit=one.unit,
        higher_is_better=one.higher_is_better,
        generator=one.generator,
        policy=one.policy,
        seeds=len(own),
        floor=mean(np.array([chain.floor for chain in own])),
        floor_sd=mean(np.array([chain.floor_sd for chain in own])),
        first=Estimate.of([chain.first for chain in own]),
        last=Estimate.of([chain.last for chain in own]),
        worse=Estimate.of([chain.worse for chain in own]),
        from_control=Estimate.of([chain.worse - control_worse[chain.seed] for chain in own if chain.seed in control_worse]),
        ratio=Estimate.of([chain.ratio for chain in own]),
        slope=Estimate.of([chain.slope for chain in own]),
        onset=mean(np.array(onsets)),
        onsets=len(onsets),
        half_life=mean(np.array(half_lives)),
        half_lives=len(half_lives),
    )
