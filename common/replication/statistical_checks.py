"""Estimates from rows, and the statistical tests that turn an estimate into a `Check`.

* A *law* (`check_equals`) holds if the estimate lies within `LAW_STANDARD_ERRORS` of it. If an alternative is named, the estimate has to
  rule it out by the same margin; otherwise the experiment cannot tell the two apart and the check is inconclusive.
* A *bound* (`check_above`, `check_below`) holds if the 95 % interval lies on the claimed side.
* A *band* (`check_within`) holds if the whole 95 % interval lies inside it. It is for published numbers that have no interval.

No test depends on a particular seed or on the outcome of a run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from math import factorial, inf
from typing import TYPE_CHECKING, Literal

import numpy as np

from .schema import LAW_STANDARD_ERRORS, Check, CheckVerdict

if TYPE_CHECKING:
    import pandas

COVERAGE = 0.95
"""Coverage of the confidence intervals."""


# ---- estimates ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Estimate:
    """A mean over independent chains with its standard error. `freedom`: degrees of freedom, infinite for thousands of chains."""

    value: float
    error: float
    chains: int
    freedom: float = inf

    @classmethod
    def of(cls, values: Iterable[float]) -> Estimate:
        """The mean of one number per seed."""
        sample = np.asarray(list(values), dtype=float)
        if len(sample) < 2:
            raise ValueError(f"{len(sample)} chains give no standard error; a claim needs at least 2 seeds or replicates")
        return cls(float(sample.mean()), float(sample.std(ddof=1) / np.sqrt(len(sample))), len(sample), len(sample) - 1)

    def __sub__(self, other: Estimate) -> Estimate:
        """The difference of independent estimates. For estimates that share seeds, take differences by seed first."""
        return Estimate(
            self.value - other.value,
            float(np.hypot(self.error, other.error)),
            min(self.chains, other.chains),
            min(self.freedom, other.freedom),
        )

    def __rsub__(self, value: float) -> Estimate:
        """A constant minus the estimate."""
        return Estimate(value - self.value, self.error, self.chains, self.freedom)

    def __truediv__(self, other: Estimate | float) -> Estimate:
        """The ratio of independent estimates (its standard error is of first order), or the estimate over a positive constant."""
        if not isinstance(other, Estimate):
            return Estimate(self.value / other, self.error / other, self.chains, self.freedom)
        value = self.value / other.value
        error = abs(value) * float(np.hypot(self.error / self.value, other.error / other.value))
        return Estimate(value, error, min(self.chains, other.chains), min(self.freedom, other.freedom))

    def __rmul__(self, factor: float) -> Estimate:
        """A positive constant times the estimate."""
        return Estimate(factor * self.value, factor * self.error, self.chains, self.freedom)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval by Student's t."""
        from scipy import stats

        half_width = float(stats.t.ppf((1 + COVERAGE) / 2, self.freedom)) * self.error
        return self.value - half_width, self.value + half_width

    def z_score(self, value: float) -> float:
        """Standard errors between the estimate and a value; infinite if the standard error is 0 and the two differ."""
        gap = self.value - value
        if self.error == 0:
            return 0.0 if abs(gap) <= 1e-12 * max(1.0, abs(value)) else float(np.copysign(inf, gap))
        return gap / self.error


def by_seed(rows: pandas.DataFrame, metric: str, policy: str, generation: int) -> np.ndarray:
    """The values of a metric at one generation, float64 [seeds], in ascending order of seeds."""
    matches = rows[(rows.metric == metric) & (rows.policy == policy) & (rows.generation == generation)].sort_values("seed")
    if matches.empty:
        raise ValueError(f"no rows of metric '{metric}' for policy '{policy}' at generation {generation}")
    return np.asarray(matches.value)


def estimate_at(rows: pandas.DataFrame, metric: str, policy: str, generation: int) -> Estimate:
    """The mean of a metric at one generation: over seeds if there are several, else over the replicates of the one seed (`<metric>_se`)."""
    values = by_seed(rows, metric, policy, generation)
    if len(values) > 1:
        return Estimate.of(values)
    head, slash, member = metric.partition("/")
    error = by_seed(rows, f"{head}_se{slash}{member}", policy, generation)
    return Estimate(float(values[0]), float(error[0]), replicates(rows))


def replicates(rows: pandas.DataFrame) -> int:
    """The number of independent chains (replicates) in one seed of an analytic experiment."""
    return int(rows.attrs.get("worlds", 1))


def history(rows: pandas.DataFrame, metric: str, policy: str) -> np.ndarray:
    """The values of a metric in every chain and generation of a policy, float64 [seeds, generations + 1]."""
    matches = rows[(rows.metric == metric) & (rows.policy == policy)]
    return np.asarray(matches.pivot_table(index="seed", columns="generation", values="value"))


# ---- checks -------------------------------------------------------------------------------------------------------------


def check_equals(label: str, estimate: Estimate, law: float, *, alternative: float | None = None) -> Check:
    """Compare with a law, and with an alternative that the estimate has to rule out."""
    from scipy import stats

    z = estimate.z_score(law)
    alternative_z = None if alternative is None else estimate.z_score(alternative)
    allowed = float(stats.t.isf(stats.norm.sf(LAW_STANDARD_ERRORS), estimate.freedom))  # the same probability with few chains
    verdict: CheckVerdict = "holds" if abs(z) <= allowed else "fails"
    if verdict == "holds" and alternative_z is not None and abs(alternative_z) <= allowed:
        verdict = "inconclusive"
    p = 2 * stats.t.sf(abs(z), estimate.freedom)
    return _check(label, estimate, "=", law, z=z, p=p, verdict=verdict, alternative=alternative, alternative_z=alternative_z)


def check_above(label: str, estimate: Estimate, bound: float = 0.0) -> Check:
    """Compare with a lower bound."""
    from scipy import stats

    z, (low, high) = estimate.z_score(bound), estimate.interval
    verdict: CheckVerdict = "holds" if low > bound else "fails" if high < bound else "inconclusive"
    return _check(label, estimate, ">", bound, z=z, p=stats.t.sf(z, estimate.freedom), verdict=verdict)


def check_below(label: str, estimate: Estimate, bound: float = 0.0) -> Check:
    """Compare with an upper bound."""
    from scipy import stats

    z, (low, high) = estimate.z_score(bound), estimate.interval
    verdict: CheckVerdict = "holds" if high < bound else "fails" if low > bound else "inconclusive"
    return _check(label, estimate, "<", bound, z=z, p=stats.t.cdf(z, estimate.freedom), verdict=verdict)


def check_within(label: str, estimate: Estimate, expected: float, half_width: float) -> Check:
    """Compare with the band from expected - half_width to expected + half_width around a published number without an interval."""
    from scipy import stats

    if half_width <= 0:
        raise ValueError(f"{label}: half_width of the band around {expected} is {half_width}; a positive number was expected")
    (low, high), bottom, top = estimate.interval, expected - half_width, expected + half_width
    verdict: CheckVerdict
    if bottom <= low and high <= top:
        verdict = "holds"
    else:
        verdict = "fails" if high < bottom or low > top else "inconclusive"
    nearest_inside = min(max(estimate.value, bottom), top)
    z = 0.0 if nearest_inside == estimate.value else estimate.z_score(nearest_inside)
    p = 1.0 if z == 0 else stats.t.sf(abs(z), estimate.freedom)
    return _check(label, estimate, "≈", expected, z=z, p=p, verdict=verdict, half_width=float(half_width))


def check_same(label: str, estimate: Estimate, value: float) -> Check:
    """Compare with a value that every chain has to match exactly, without scatter."""
    equal = estimate.error == 0 and estimate.z_score(value) == 0
    z, p = (0.0, 1.0) if equal else (inf, 0.0)
    return _check(label, estimate, "=", value, z=z, p=p, verdict="holds" if equal else "fails")


def check_mostly_up(label: str, values: np.ndarray, *, at_least: int) -> Check:
    """Check that each chain rises in `at_least` of its steps; `values` is float64 [seeds, generations + 1].

    `p` is the probability of that if generations are in random order, from the Eulerian numbers. The steps of a random walk would agree
    more often, but a chain whose generations differ by chance alone is not a random walk.
    """
    from scipy import stats

    rises = (np.diff(values, axis=1) > 0).sum(axis=1)
    p = probability_of_rises(values.shape[1] - 1, at_least) ** len(rises)
    verdict: CheckVerdict = "holds" if (rises >= at_least).all() else "fails" if (rises < at_least).all() else "inconclusive"
    return Check(
        label=label,
        measured=float(rises.mean()),
        low=float(rises.min()),
        high=float(rises.max()),
        relation=">",
        expected=at_least - 0.5,
        z=float(stats.norm.isf(p)),
        p=p,
        chains=len(rises),
        verdict=verdict,
    )


def probability_of_rises(steps: int, at_least: int) -> float:
    """The probability that a random order of steps + 1 different numbers rises in at least `at_least` steps."""
    eulerian = [1]  # for one number: one order without a rise
    for n in range(2, steps + 2):
        eulerian = [(k + 1) * (eulerian[k] if k < n - 1 else 0) + (n - k) * (eulerian[k - 1] if k else 0) for k in range(n)]
    return sum(eulerian[at_least:]) / factorial(steps + 1)


def check_law_at_generations(
    label: str,
    rows: pandas.DataFrame,
    metric: str,
    policy: str,
    law: Callable[[int], float],
    *,
    generations: Sequence[int],
    alternative: Callable[[int], float] | None = None,
) -> list[Check]:
    """Compare a metric with its law at several generations, the last one first. The last estimate has to rule out the alternative."""
    checks: list[Check] = []
    for generation in sorted(generations, reverse=True):
        excluded = alternative(generation) if alternative is not None and not checks else None
        estimate = estimate_at(rows, metric, policy, generation)
        checks.append(check_equals(f"{label}, generation {generation}", estimate, law(generation), alternative=excluded))
    return checks


def _check(
    label: str,
    estimate: Estimate,
    relation: Literal["=", ">", "<", "≈"],
    expected: float,
    *,
    z: float,
    p: float,
    verdict: CheckVerdict,
    alternative: float | None = None,
    alternative_z: float | None = None,
    half_width: float | None = None,
) -> Check:
    """A check of an estimate, with its interval."""
    low, high = estimate.interval
    return Check(
        label=label,
        measured=estimate.value,
        low=low,
        high=high,
        relation=relation,
        expected=float(expected),
        z=float(z),
        p=float(p),
        chains=estimate.chains,
        verdict=verdict,
        alternative=alternative,
        alternative_z=alternative_z,
        half_width=half_width,
    )
