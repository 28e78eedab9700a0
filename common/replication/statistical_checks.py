"""Checks: one measured number held against what a claim says of it.

Against a *law* (`equals`) the number has to lie within `LAW` standard errors, and, where a rival is named, the rival has to lie
outside: an experiment too small to tell the two apart proves nothing. An *ordering* (`above`, `below`) has to be clear of its
bound by a 95 % interval. Against a number that somebody measured once (`within`) the whole 95 % interval has to lie in a band
around it. Nothing here looks at a particular seed or depends on what came out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import factorial, inf
from typing import TYPE_CHECKING, Literal

import numpy as np
from scipy import stats

if TYPE_CHECKING:
    import pandas

Verdict = Literal["holds", "fails", "inconclusive"]

LAW = 4.0
"""Standard errors that a true law is allowed: it is wrongly refused once in 16,000 checks, and a claim has ten or so."""
CLEAR = 0.95
"""Coverage of the intervals that an ordering has to be clear of."""


# ---- what was measured ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """A mean over independent chains and its standard error; `freedom` is that of the standard error (infinite for thousands of chains)."""

    value: float
    error: float
    chains: int
    freedom: float = inf

    @classmethod
    def of(cls, values: Iterable[float]) -> Estimate:
        """From one number per seed."""
        values = np.asarray(list(values), dtype=float)
        if len(values) < 2:
            raise ValueError(f"{len(values)} chains have no scatter; a claim needs several seeds or several worlds")
        return cls(float(values.mean()), float(values.std(ddof=1) / np.sqrt(len(values))), len(values), len(values) - 1)

    def __sub__(self, other: Estimate) -> Estimate:
        """Of independent estimates (for those that share seeds, take differences by seed first)."""
        return Estimate(
            self.value - other.value,
            float(np.hypot(self.error, other.error)),
            min(self.chains, other.chains),
            min(self.freedom, other.freedom),
        )

    def __truediv__(self, other: Estimate) -> Estimate:
        """Of independent estimates, to first order."""
        value = self.value / other.value
        error = abs(value) * float(np.hypot(self.error / self.value, other.error / other.value))
        return Estimate(value, error, min(self.chains, other.chains), min(self.freedom, other.freedom))

    @property
    def interval(self) -> tuple[float, float]:
        """95 %, by Student's t."""
        reach = float(stats.t.ppf((1 + CLEAR) / 2, self.freedom)) * self.error
        return self.value - reach, self.value + reach

    def away(self, value: float) -> float:
        """Standard errors between the estimate and a value."""
        gap = self.value - value
        if self.error == 0:
            return 0.0 if abs(gap) <= 1e-12 * max(1.0, abs(value)) else float(np.copysign(inf, gap))
        return gap / self.error


def by_seed(rows: pandas.DataFrame, metric: str, policy: str, generation: int) -> np.ndarray:
    """A number of a generation in every chain of a policy, float64 [seeds], seeds in ascending order."""
    own = rows[(rows.metric == metric) & (rows.policy == policy) & (rows.generation == generation)].sort_values("seed")
    if own.empty:
        raise ValueError(f"no rows of '{metric}' under '{policy}' at generation {generation}")
    return own.value.to_numpy()


def at(rows: pandas.DataFrame, metric: str, policy: str, generation: int) -> Estimate:
    """The mean of a number over chains: over seeds if there are several, else over the worlds of the one seed (`<metric>_se`)."""
    values = by_seed(rows, metric, policy, generation)
    if len(values) > 1:
        return Estimate.of(values)
    head, slash, member = metric.partition("/")
    error = by_seed(rows, f"{head}_se{slash}{member}", policy, generation)
    return Estimate(float(values[0]), float(error[0]), worlds(rows))


def worlds(rows: pandas.DataFrame) -> int:
    """Independent chains in each of an analytic experiment's seeds."""
    return int(rows.attrs.get("worlds", 1))


def history(rows: pandas.DataFrame, metric: str, policy: str) -> np.ndarray:
    """A number in every chain and generation of a policy, float64 [seeds, generations + 1]."""
    own = rows[(rows.metric == metric) & (rows.policy == policy)]
    return own.pivot_table(index="seed", columns="generation", values="value").to_numpy()


# ---- what it is held against --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Check:
    """One measured number beside what is said of it."""

    about: str
    measured: float
    low: float
    high: float
    """95 % interval."""
    relation: Literal["=", ">", "<", "≈"]
    expected: float
    z: float
    """Standard errors between measured and expected; for a band, between measured and its nearer end, 0 inside."""
    p: float
    """The chance of a distance like this or a greater one if the expected value (the nearer end of a band) were true; one-sided for
    orderings and bands."""
    chains: int
    verdict: Verdict
    rival: float | None = None
    """What would have been expected if the claim were wrong."""
    rival_z: float | None = None
    reach: float | None = None
    """Half the width of the band around the expected value."""


def equals(about: str, found: Estimate, law: float, *, rival: float | None = None) -> Check:
    """Held against a law, and against a rival that has to be refused."""
    z, rival_z = found.away(law), None if rival is None else found.away(rival)
    p = float(2 * stats.t.sf(abs(z), found.freedom))
    allowed = float(stats.t.isf(stats.norm.sf(LAW), found.freedom))  # as unlikely as LAW standard errors known exactly
    verdict: Verdict = "holds" if abs(z) <= allowed else "fails"
    if verdict == "holds" and rival_z is not None and abs(rival_z) <= allowed:
        verdict = "inconclusive"
    return Check(about, found.value, *found.interval, "=", float(law), float(z), p, found.chains, verdict, rival, rival_z)


def above(about: str, found: Estimate, bound: float = 0.0) -> Check:
    """Held against a lower bound."""
    z, (low, high) = found.away(bound), found.interval
    verdict: Verdict = "holds" if low > bound else "fails" if high < bound else "inconclusive"
    return Check(about, found.value, low, high, ">", float(bound), float(z), float(stats.t.sf(z, found.freedom)), found.chains, verdict)


def below(about: str, found: Estimate, bound: float = 0.0) -> Check:
    """Held against an upper bound."""
    z, (low, high) = found.away(bound), found.interval
    verdict: Verdict = "holds" if high < bound else "fails" if low > bound else "inconclusive"
    return Check(about, found.value, low, high, "<", float(bound), float(z), float(stats.t.cdf(z, found.freedom)), found.chains, verdict)


def within(about: str, found: Estimate, expected: float, reach: float) -> Check:
    """Held against a band, expected - reach to expected + reach: for a published number that has no interval of its own."""
    if reach <= 0:
        raise ValueError(f"{about}: a band reaches {reach} to either side of {expected}; it needs a width")
    low, high = found.interval
    if expected - reach <= low and high <= expected + reach:
        verdict: Verdict = "holds"
    else:
        verdict = "fails" if high < expected - reach or low > expected + reach else "inconclusive"
    nearest_inside = min(max(found.value, expected - reach), expected + reach)
    z = 0.0 if nearest_inside == found.value else found.away(nearest_inside)
    p = 1.0 if z == 0 else float(stats.t.sf(abs(z), found.freedom))
    return Check(about, found.value, low, high, "≈", float(expected), float(z), p, found.chains, verdict, reach=float(reach))


def same(about: str, found: Estimate, value: float) -> Check:
    """Held against a value that every chain has exactly, with no scatter."""
    equal = found.error == 0 and found.away(value) == 0
    z, verdict = (0.0, "holds") if equal else (inf, "fails")
    return Check(about, found.value, *found.interval, "=", float(value), z, 1.0 if equal else 0.0, found.chains, verdict)


def mostly_up(about: str, values: np.ndarray, *, at_least: int) -> Check:
    """Of values float64 [seeds, generations + 1]: that each chain goes up in `at_least` of its steps.

    `p` is the chance of it for generations in random order, from the Eulerian numbers; steps of a random walk would be
    likelier to agree, but a chain whose generations differ by chance alone is no walk.
    """
    rises = (np.diff(values, axis=1) > 0).sum(axis=1)
    steps = values.shape[1] - 1
    p = float(_chance_of_rises(steps, at_least) ** len(rises))
    verdict: Verdict = "holds" if (rises >= at_least).all() else "fails" if (rises < at_least).all() else "inconclusive"
    mean = float(rises.mean())
    return Check(about, mean, float(rises.min()), float(rises.max()), ">", at_least - 0.5, float(stats.norm.isf(p)), p, len(rises), verdict)


def _chance_of_rises(steps: int, at_least: int) -> float:
    """The chance that a random order of steps + 1 different numbers rises in at least so many steps."""
    eulerian = [1]  # for one number: one order without a rise
    for n in range(2, steps + 2):
        eulerian = [(k + 1) * (eulerian[k] if k < n - 1 else 0) + (n - k) * (eulerian[k - 1] if k else 0) for k in range(n)]
    return sum(eulerian[at_least:]) / factorial(steps + 1)


def follows(
    about: str,
    rows: pandas.DataFrame,
    metric: str,
    policy: str,
    law: Callable[[int], float],
    *,
    at_generations: Sequence[int],
    rival: Callable[[int], float] | None = None,
) -> list[Check]:
    """Checks of a number against its law at some generations, the last one first; the rival has to be refused there."""
    last, *earlier = sorted(at_generations, reverse=True)
    checks = [equals(f"{about}, generation {last}", at(rows, metric, policy, last), law(last), rival=rival and rival(last))]
    return checks + [equals(f"{about}, generation {number}", at(rows, metric, policy, number), law(number)) for number in earlier]
