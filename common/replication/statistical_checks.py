"""Statistical tests for claims: computes estimates from rows and compares them with expected values. Each comparison is a `Check`.

* A *law* (`check_equals`) holds if the estimate is within `LAW_STANDARD_ERRORS` standard errors of the law. If there is an alternative
  (the expected value if the claim is wrong), the estimate must also differ from it by more than that. Otherwise the check is inconclusive.
* A *bound* (`check_above`, `check_below`) holds if the 95 % interval lies on the claimed side of the bound.
* A *band* (`check_within`) holds if the whole 95 % interval lies inside the band. Bands are for published numbers without an interval.

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
    """Mean over independent chains with its standard error. `freedom`: degrees of freedom, infinite for thousands of chains."""

    value: float
    error: float
    chains: int
    freedom: float = inf

    @classmethod
    def of(cls, values: Iterable[float]) -> Estimate:
        """Compute the mean and its standard error from one value per seed. Raises ValueError for fewer than two values."""
        sample = np.asarray(list(values), dtype=float)
        if len(sample) < 2:
            raise ValueError(f"a standard error cannot be computed from {len(sample)} chains; use at least 2 seeds or replicates")
        return cls(float(sample.mean()), float(sample.std(ddof=1) / np.sqrt(len(sample))), len(sample), len(sample) - 1)

    def __sub__(self, other: Estimate) -> Estimate:
        """Return the difference of two independent estimates. If the estimates share seeds, subtract the values seed by seed instead."""
        return Estimate(
            self.value - other.value,
            float(np.hypot(self.error, other.error)),
            min(self.chains, other.chains),
            min(self.freedom, other.freedom),
        )

    def __rsub__(self, value: float) -> Estimate:
        """Return a constant minus the estimate."""
        return Estimate(value - self.value, self.error, self.chains, self.freedom)

    def __truediv__(self, other: Estimate | float) -> Estimate:
        """Return the ratio of two independent estimates (standard error to first order), or the estimate over a positive constant."""
        if not isinstance(other, Estimate):
            return Estimate(self.value / other, self.error / other, self.chains, self.freedom)
        value = self.value / other.value
        error = abs(value) * float(np.hypot(self.error / self.value, other.error / other.value))
        return Estimate(value, error, min(self.chains, other.chains), min(self.freedom, other.freedom))

    def __rmul__(self, factor: float) -> Estimate:
        """Return a positive constant times the estimate."""
        return Estimate(factor * self.value, factor * self.error, self.chains, self.freedom)

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % interval, from Student's t distribution."""
        from scipy import stats

        half_width = float(stats.t.ppf((1 + COVERAGE) / 2, self.freedom)) * self.error
        return self.value - half_width, self.value + half_width

    def z_score(self, value: float) -> float:
        """Compute the distance from `value` in standard errors. Infinite if the standard error is 0 and the values differ."""
        gap = self.value - value
        if self.error == 0:
            return 0.0 if abs(gap) <= 1e-12 * max(1.0, abs(value)) else float(np.copysign(inf, gap))
        return gap / self.error


def by_seed(rows: pandas.DataFrame, metric: str, policy: str, generation: int) -> np.ndarray:
    """Return the values of a metric at one generation, float64 [seeds], in ascending order of seeds. Raises ValueError without rows."""
    matches = rows[(rows.metric == metric) & (rows.policy == policy) & (rows.generation == generation)].sort_values("seed")
    if matches.empty:
        raise ValueError(f"no rows of metric '{metric}' for policy '{policy}' at generation {generation}")
    return np.asarray(matches.value)


def estimate_at(rows: pandas.DataFrame, metric: str, policy: str, generation: int) -> Estimate:
    """Return the mean of a metric at one generation with its standard error.

    With several seeds the standard error is over seeds. With one seed it is over replicates, from the metric `<metric>_se`.
    """
    values = by_seed(rows, metric, policy, generation)
    if len(values) > 1:
        return Estimate.of(values)
    head, slash, member = metric.partition("/")
    error = by_seed(rows, f"{head}_se{slash}{member}", policy, generation)
    return Estimate(float(values[0]), float(error[0]), replicates(rows))


def replicates(rows: pandas.DataFrame) -> int:
    """Return the number of independent chains (replicates) in one seed of an analytic experiment."""
    return int(rows.attrs.get("worlds", 1))


def history(rows: pandas.DataFrame, metric: str, policy: str) -> np.ndarray:
    """Return the values of a metric under a policy at all generations, float64 [seeds, generations + 1]."""
    matches = rows[(rows.metric == metric) & (rows.policy == policy)]
    return np.asarray(matches.pivot_table(index="seed", columns="generation", values="value"))


# ---- checks -------------------------------------------------------------------------------------------------------------


def check_equals(label: str, estimate: Estimate, law: float, *, alternative: float | None = None) -> Check:
    """Check that an estimate agrees with the value `law` and, if `alternative` is given, rules out the alternative."""
    from scipy import stats

    z = estimate.z_score(law)
    alternative_z = None if alternative is None else estimate.z_score(alternative)
    allowed = float(stats.t.isf(stats.norm.sf(LAW_STANDARD_ERRORS), estimate.freedom))  # has the same probability for any number of chains
    verdict: CheckVerdict = "holds" if abs(z) <= allowed else "fails"
    if verdict == "holds" and alternative_z is not None and abs(alternative_z) <= allowed:
        verdict = "inconclusive"
    p = 2 * stats.t.sf(abs(z), estimate.freedom)
    return _check(label, estimate, "=", law, z=z, p=p, verdict=verdict, alternative=alternative, alternative_z=alternative_z)


def check_above(label: str, estimate: Estimate, bound: float = 0.0) -> Check:
    """Check that an estimate is above a bound."""
    from scipy import stats

    z, (low, high) = estimate.z_score(bound), estimate.interval
    verdict: CheckVerdict = "holds" if low > bound else "fails" if high < bound else "inconclusive"
    return _check(label, estimate, ">", bound, z=z, p=stats.t.sf(z, estimate.freedom), verdict=verdict)


def check_below(label: str, estimate: Estimate, bound: float = 0.0) -> Check:
    """Check that an estimate is below a bound."""
    from scipy import stats

    z, (low, high) = estimate.z_score(bound), estimate.interval
    verdict: CheckVerdict = "holds" if high < bound else "fails" if low > bound else "inconclusive"
    return _check(label, estimate, "<", bound, z=z, p=stats.t.cdf(z, estimate.freedom), verdict=verdict)


def check_within(label: str, estimate: Estimate, expected: float, half_width: float) -> Check:
    """Check that an estimate lies in the band from expected - half_width to expected + half_width, around a published number."""
    from scipy import stats

    if half_width <= 0:
        raise ValueError(f"{label}: half_width of the band around {expected} is {half_width}, but must be positive")
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
    """Check that all chains have exactly the same value: the mean is `value` and the standard error is 0."""
    equal = estimate.error == 0 and estimate.z_score(value) == 0
    z, p = (0.0, 1.0) if equal else (inf, 0.0)
    return _check(label, estimate, "=", value, z=z, p=p, verdict="holds" if equal else "fails")


def check_mostly_up(label: str, values: np.ndarray, *, at_least: int) -> Check:
    """Check that the values of each chain rise in at least `at_least` steps. `values` is float64 [seeds, generations + 1].

    `p` is the probability of this result if the order of generations is random. It is computed from the Eulerian numbers. Under a random
    walk the result is more probable, but generations that differ by chance alone are not a random walk.
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
    """Compute the probability that steps + 1 different numbers in random order rise in at least `at_least` steps."""
    eulerian = [1]  # one number has one order, which has no rise
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
    """Check a metric against its law at several generations, the last one first.

    If `alternative` is given, the estimate at the last generation must also rule out its value.
    """
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
    """Build a `Check` of an estimate, including its interval."""
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
