"""What rows say: of each chain, of each policy with an interval over its chains, and under each definition of collapse.

The chain is the unit of replication. Generations of one chain depend on each other, so they are never counted as observations.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pandas

from ..core.random_streams import stream

FEW = 5
"""From so many chains on a bootstrap can say something about 95 %."""
DRAWS = 4000
SURE = 2.0
"""Standard deviations that count as more than chance."""
ABOUT = ["metric", "axis", "unit", "higher_is_better"]


def interval(values: np.ndarray) -> tuple[float, float]:
    """Of a mean over chains, values float64 [chains]: the 95 % percentile bootstrap (Efron 1979), its draws always the same.

    Of fewer than five chains the least and the greatest instead: all distinct resamplings together could not hold 95 %. The range of
    k chains holds the median chain with a chance of 1 - 2^(1 - k): a half for two, three quarters for three.
    """
    if len(values) < FEW:
        return float(values.min()), float(values.max())
    drawn = stream(0, "bootstrap").integers(len(values), size=(DRAWS, len(values)))
    low, high = np.quantile(values[drawn].mean(axis=1), [0.025, 0.975])
    return float(low), float(high)


def what_intervals_are(seeds: int) -> str:
    """What `interval` gives for so many chains, in words."""
    if seeds == 1:
        return "one seed, so no interval"
    return "95 % bootstrap over seeds" if seeds >= FEW else f"range of {seeds} seeds"


def chains(rows: pandas.DataFrame) -> pandas.DataFrame:
    """A row for every metric and chain (policy, seed), in the order of the rows; numbers of families and of costs are left out.

    first, last    the value at generation 0 and at the end; `ratio` is the one over the other
    worse          last - first, positive in the direction that is worse (for metrics without one: up)
    noise          what chance does to a difference from generation 0: twice its standard deviation, the largest of what the scatter of
                   the floors, the metric's own standard error (`<metric>_se`, of either generation) and the chains of the control
                   say of it; here that of the last generation
    onset          the first generation from which on the value is worse, by more than noise, than generation 0 and the floor; NaN: never
    slope          least squares over generations, per generation, as measured
    half_life      the generation, interpolated, at which half of generation 0's value is lost or, where lower is better, it has doubled
    early, late    change for the worse per generation in the first and in the second half of the chain
    """
    controls = control(rows)
    judged = rows[~rows.axis.isin(["mixture", "cost"]) & ~rows.metric.str.contains("/") & ~rows.metric.str.endswith("_se")]
    found = []
    for metric, own in judged.groupby("metric", sort=False):
        about = {name: own[name].iloc[0] for name in ABOUT}
        errors = rows[rows.metric == f"{metric}_se"]
        refitted = {generator: _refitted(own[own.policy == policy]) for generator, policy in controls.items()}
        for (generator, policy, seed), chain in own.groupby(["generator", "policy", "seed"], sort=False):
            chain = chain.sort_values("generation")
            error = errors[(errors.policy == policy) & (errors.seed == seed)].sort_values("generation").value.to_numpy()
            error = error if len(error) else np.zeros(len(chain))
            scatter = np.sqrt(2) * np.nan_to_num(chain.floor_sd.max())
            noise = SURE * np.maximum(np.sqrt(error**2 + error[0] ** 2), max(scatter, refitted.get(generator, 0.0)))  # [generations + 1]
            values, sign = chain.value.to_numpy(), -1.0 if about["higher_is_better"] == True else 1.0  # noqa: E712 (it may be numpy's, or None)
            floor = chain.floor.mean()
            names = {"generator": generator, "policy": policy, "seed": seed}
            known = {"floor": floor, "floor_sd": chain.floor_sd.mean(), "noise": noise[-1]}
            found.append({**about, **names, **known, **_of_chain(values, sign=sign, floor=floor, noise=noise)})
    return pandas.DataFrame(found)


def _of_chain(values: np.ndarray, *, sign: float, floor: float, noise: np.ndarray) -> dict[str, float]:
    """values, noise float64 [generations + 1]; sign +1 where lower is better."""
    number, last = np.arange(len(values)), len(values) - 1
    worse = sign * (values - values[0])
    start = 0.0 if np.isnan(floor) else max(0.0, sign * (floor - values[0]))  # generation 0 may be better than the floor
    beyond = worse > start + noise
    within = np.flatnonzero(~beyond)
    middle = max(1, last // 2)
    return {
        "first": values[0],
        "last": values[-1],
        "ratio": values[-1] / values[0] if values[0] else np.nan,
        "worse": worse[-1],
        "onset": float(within[-1] + 1) if beyond[-1] else np.nan,
        "slope": np.polyfit(number, values, 1)[0],
        "half_life": _crossing(values, values[0] * (2.0 if sign > 0 else 0.5), sign) if values[0] > 0 else np.nan,
        "early": worse[middle] / middle,
        "late": (worse[-1] - worse[middle]) / max(1, last - middle),
    }


def _crossing(values: np.ndarray, level: float, sign: float) -> float:
    """The first place, interpolated, where values reach a level going up (sign 1) or down (-1); NaN if they never do."""
    reached = np.flatnonzero(sign * (values - level) >= 0)
    if not reached.size or reached[0] == 0:
        return np.nan
    after = int(reached[0])
    return after - 1 + (level - values[after - 1]) / (values[after] - values[after - 1])


def control(rows: pandas.DataFrame) -> dict[str, str]:
    """For each generator the policy that trained it on nothing but real rows in every generation, as counted, where there is one."""
    shares = rows[rows.metric == "real_share"].groupby(["generator", "policy"], sort=False).value.min()
    return {generator: policy for (generator, policy), share in reversed(list(shares.items())) if share == 1}  # the first one counts


def _refitted(own: pandas.DataFrame) -> float:
    """Root mean square of the differences from generation 0 in the chains of a control, where nothing but chance changes anything."""
    wide = own.pivot_table(index="seed", columns="generation", values="value")
    return float(np.sqrt(np.nanmean((wide.iloc[:, 1:].sub(wide[0], axis=0)) ** 2)))


def policies(found: pandas.DataFrame, *, controls: Mapping[str, str]) -> pandas.DataFrame:
    """A row for every metric and policy: means of `chains` over seeds, each `x` with its interval `x_low`, `x_high`.

    `apart` is how much worse the end is than that of the generator's control, paired by seed: they share their generation 0.
    `onset` and `half_life` are means over the chains that have one, `onsets` and `half_lives` say how many have.
    """
    lines = []
    for (metric, _), own in found.groupby(["metric", "policy"], sort=False):
        line = {name: own[name].iloc[0] for name in (*ABOUT, "generator", "policy")}
        line |= {"seeds": len(own), "floor": own.floor.mean(), "floor_sd": own.floor_sd.mean()}
        for name in ("first", "last", "worse", "slope", "ratio"):
            line |= _spread(name, own[name].to_numpy())
        against = controls.get(own.generator.iloc[0])
        other = found[(found.metric == metric) & (found.policy == against)].set_index("seed").worse
        line |= _spread("apart", (own.set_index("seed").worse - other).dropna().to_numpy())
        for name in ("onset", "half_life"):
            line[name] = own[name].mean()
        lines.append({**line, "onsets": int(own.onset.notna().sum()), "half_lives": int(own.half_life.notna().sum())})
    return pandas.DataFrame(lines)


def _spread(name: str, values: np.ndarray) -> dict[str, float]:
    if not len(values) or np.isnan(values).any():
        return dict.fromkeys((name, f"{name}_low", f"{name}_high"), np.nan)
    low, high = interval(values)
    return {name: float(values.mean()), f"{name}_low": low, f"{name}_high": high}


# ---- what is called collapse --------------------------------------------------------------------------------------

MODES = ("recall", "coverage")


@dataclass(frozen=True)
class Definition:
    """One of the things that are called model collapse (Schaeffer et al. 2025): which metrics bear on it, and what each must show."""

    name: str
    asks: str
    bears: Callable[[pandas.DataFrame], pandas.Series]
    shows: Callable[[pandas.DataFrame], pandas.Series]
    generations: int = 1
    """Generations after generation 0 that it takes to tell."""


def _risk(found: pandas.DataFrame) -> pandas.Series:
    return found.axis.isin(["likelihood", "fidelity"]) & found.higher_is_better.eq(False)


def _kept(axis: str) -> Callable[[pandas.DataFrame], pandas.Series]:
    return lambda found: (found.axis == axis) & found.higher_is_better.eq(True) & ~found.metric.isin(MODES)


def _beyond(found: pandas.DataFrame) -> pandas.Series:
    return found.onset.notna()


DEFINITIONS = (
    Definition(
        "any growth of risk",
        "real data are predicted worse, or what is made lies further from them, than at generation 0, beyond noise",
        _risk,
        _beyond,
    ),
    Definition(
        "risk without a bound",
        "it does so, and in the second half of the chain at least half as fast as in the first",
        _risk,
        lambda found: _beyond(found) & (found.late >= found.early / 2),
        generations=4,
    ),
    Definition(
        "variance to zero",
        "what is made is less than half as varied as at generation 0, and loses more in the second half of the chain",
        _kept("diversity"),
        lambda found: _beyond(found) & (found.ratio < 0.5) & (found.late > 0),
        generations=4,
    ),
    Definition("tail loss", "less of the rare is made than at generation 0, beyond noise", _kept("tail"), _beyond),
    Definition(
        "mode loss",
        "parts of the real distribution that generation 0 reached are not reached, beyond noise",
        lambda found: found.metric.isin(MODES),
        _beyond,
    ),
    Definition(
        "another scaling law",
        "more data helps less than it should; needs runs of several sizes",
        lambda found: found.metric.isna(),
        _beyond,
    ),
)


def verdicts(found: pandas.DataFrame, *, generations: int) -> Iterator[dict[str, object]]:
    """For every definition and policy: `verdict` (yes, no, in part, not told) and, metric by metric, what its chains show.

    A metric says yes if every chain does, no if none does. `in part`: metrics or chains disagree. `not told`: nothing measured bears
    on the definition, or the chains are too short for it.
    """
    for definition in DEFINITIONS:
        bearing = found[definition.bears(found)]
        bearing = bearing.assign(shows=definition.shows(bearing).astype(bool))
        for policy in found.policy.unique():
            own = bearing[bearing.policy == policy]
            shares = own.groupby("metric", sort=False).shows.mean().to_dict()
            verdict = "in part"
            if not shares or generations < definition.generations:
                verdict = "not told"
            elif len(set(shares.values())) == 1 and next(iter(shares.values())) in (0.0, 1.0):
                verdict = "yes" if next(iter(shares.values())) else "no"
            yield {"definition": definition.name, "asks": definition.asks, "policy": str(policy), "verdict": verdict, "shares": shares}
