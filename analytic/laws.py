"""Closed-form laws for chains of simple models. Results of the loop are compared with these laws.

Symbols, unless a function says otherwise:

- The truth is a normal distribution with variance 1.
- M (`size`): number of rows of each fit. n = generation + 1: number of fits, because generation 0 is the first fit.
- mu and s^2: fitted mean and variance. E and Var: expectation and variance over chains.
- lambda (`scale`): factor of the variance in sampling; 1 is unbiased sampling.
- a (`real_fraction`): share of real rows in a training pool.
- psi, psi1, Gamma: digamma, trigamma and gamma function.

Fits are maximum likelihood (`ddof: 0`) unless `ddof=1` is given. The expected variance E s^2 falls at the rate 1/M. The variance of
a typical chain, exp(E ln s^2), falls at the rate 2/M. Papers do not always distinguish these two variances. A law without a source was
derived for this project and checked by simulation.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import TypeVar

import numpy as np

Values = TypeVar("Values", float, np.ndarray)


def conserved(variance: Values, mean_squared_error: Values) -> Values:
    """Conservation law: E s^2 + Var mu = 1. Holds in every generation of every policy that does not select rows, with lambda = 1.

    By induction, each training point has marginal variance 1. Maximum likelihood splits this variance into the two parts of the sum. The
    law fails if data leak, are counted twice or are selected. Therefore it tests the loop and not the generator.
    """
    return variance + mean_squared_error


# ---- replace --------------------------------------------------------------------------------------------------------


def replace_variance(generation: int, *, size: int, scale: float = 1.0, ddof: int = 0) -> float:
    """E s^2 under `replace`: lambda^(n-1) (1 - 1/M)^n. With `ddof=1` the second factor is 1.

    Sources: Shumailov et al. 2024, multiplied here by the factor of maximum likelihood; for lambda < 1, Alemohammad et al. 2024, eq. 2.
    """
    return scale**generation * (1.0 if ddof else (1 - 1 / size) ** (generation + 1))


def replace_log_variance(generation: int, *, size: int, ddof: int = 0, dimensions: int = 1) -> float:
    """E ln det S / d under `replace`: n [mean_j psi((M-j)/2) - ln((M - ddof)/2)] in nats, j = 1 ... d.

    S is the fitted covariance in d dimensions. For d = 1 the result is E ln s^2. The formula is the log-moment of a Wishart distribution.
    """
    from scipy.special import psi

    j = np.arange(1, dimensions + 1)
    return (generation + 1) * float(psi((size - j) / 2).mean() - np.log((size - ddof) / 2))


def replace_log_variance_spread(generation: int, *, size: int) -> float:
    """Var ln s^2 under `replace`: n psi1((M-1)/2), in nats^2. psi1((M-1)/2) is the log-variance of a chi-square distribution."""
    from scipy.special import polygamma

    return (generation + 1) * float(polygamma(1, (size - 1) / 2))


def replace_mean_squared_error(generation: int, *, size: int, ddof: int = 0) -> float:
    """Var mu under `replace`: 1 - (1 - 1/M)^n, or n/M with `ddof=1` (Shumailov et al. 2024)."""
    n = generation + 1
    return n / size if ddof else 1 - (1 - 1 / size) ** n


def mean_deviation(size: int, *, ddof: int = 0) -> float:
    """E s for one fit: c = sqrt(2 / (M - ddof)) Gamma(M/2) / Gamma((M-1)/2). With `ddof=1` this is the constant c4 of statistics."""
    from scipy.special import gammaln

    return float(np.sqrt(2 / (size - ddof)) * np.exp(gammaln(size / 2) - gammaln((size - 1) / 2)))


def replace_wasserstein(generation: int, *, size: int, ddof: int = 0) -> float:
    """Expected squared 2-Wasserstein distance between fit and truth under `replace`: 2 (1 - c^n), or n/M + 2 (1 - c^n) with `ddof=1`.

    c is `mean_deviation`. The case `ddof=1` is theorem 3.1 of Shumailov et al. 2024.
    """
    n = generation + 1
    return (n / size if ddof else 0.0) + 2 * (1 - mean_deviation(size, ddof=ddof) ** n)


def growing_variance(sizes: Sequence[int]) -> float:
    """E s^2 under `replace` if fit i has M_i = sizes[i] rows: prod_i (1 - 1/M_i). The limit is positive iff sum 1/M_i is finite."""
    return float(np.prod(1 - 1 / np.asarray(sizes, dtype=float)))


# ---- accumulate -----------------------------------------------------------------------------------------------------


def accumulate_variance(generation: int, *, size: int, scale: float = 1.0) -> float:
    """E s^2 under `accumulate`: (1 - 1/M) prod_{j=2..n} [1 - (1 - lambda)/j - lambda/(j^2 M)].

    For lambda = 1 the value stays above 1 - pi^2/(6M) (Gerstgrasser et al. 2024). For lambda < 1 it goes to 0 like n^-(1 - lambda).
    """
    j = np.arange(2, generation + 2)
    return float((1 - 1 / size) * np.prod(1 - (1 - scale) / j - scale / (j**2 * size)))


def accumulate_limit(*, size: int) -> float:
    """Limit of E s^2 under `accumulate` for lambda = 1: sin(pi/sqrt M) / (pi/sqrt M)."""
    return float(np.sinc(1 / np.sqrt(size)))


def accumulate_variance_unbiased(generation: int, *, size: int) -> float:
    """E s^2 under `accumulate` with `ddof: 1`: prod_{j=2..n} (1 - 1/(j (jM - 1))).

    The value is below 1, because all rows of one generation share the same error of the mean.
    """
    j = np.arange(2, generation + 2)
    return float(np.prod(1 - 1 / (j * (j * size - 1))))


def subsample_variance(generation: int, *, size: int) -> float:
    """E s^2 under `accumulate-subsample` (policy of Kazdan et al. 2024). Uses a recursion for the variance of the accumulated pool."""

    def shared(k: int) -> float:
        """Var mu of M rows drawn without replacement from k M rows, as a share of the variance of the k M rows."""
        return (k * size - size) / (size * (k * size - 1))

    pool = 1 - 1 / size
    for k in range(1, generation + 1):
        pool *= 1 - (shared(k) + (1 - shared(k)) / size) / (k + 1) ** 2
    return (1 - shared(generation + 1)) * pool


# ---- mixing with real rows ------------------------------------------------------------------------------------------


def mix_fresh(generation: int, *, size: int, real_fraction: float | Sequence[float], scale: float = 1.0) -> tuple[float, float]:
    """E s^2 and Var mu under `mix` with fresh real rows, by recursion. `real_fraction` times `size` must be an integer.

    If `real_fraction` is a sequence, it holds the fractions of generations 1, 2, ..., and the last fraction is repeated. For a constant
    fraction and lambda = 1 the limits are 1 - 1/D and 1/D; `mix_fixed_point` defines D. The setting is from Bertrand et al. 2024.
    """
    m = size
    s, v = 1 - 1 / m, 1 / m
    for number in range(1, generation + 1):
        a = _share(real_fraction, number)
        s, v = (
            a * (1 - 1 / m) + (1 - a) * (1 - 1 / m) * scale * s + a * (1 - a) * v,
            a / m + (1 - a) * scale * s / m + (1 - a) ** 2 * v,
        )
    return s, v


def _share(real_fraction: float | Sequence[float], generation: int) -> float:
    if isinstance(real_fraction, Sequence):
        return real_fraction[min(generation, len(real_fraction)) - 1]
    return real_fraction


def mix_fixed(generation: int, *, size: int, real_fraction: float) -> tuple[float, float]:
    """E s^2 and Var mu under `mix` with the same real rows in every generation. `real_fraction` times `size` must be an integer.

    The recursion uses e = mu - x, where x is the mean of the fixed real rows. The means of real and generated rows differ by e + noise,
    so the next value of e is (1 - a)(e + noise).
    """
    m, a = size, real_fraction
    rows = a * m
    s, w, shared = 1 - 1 / m, 1 / rows - 1 / m, 1 / m - 1 / rows  # E s^2, E e^2, E x e
    for _ in range(generation):
        s, w, shared = (
            a * (1 - 1 / rows) + (1 - a) * s - s / m + a * (1 - a) * w + a * s / m,
            (1 - a) ** 2 * w + (1 - a) * s / m,
            (1 - a) * shared,
        )
    return s, 1 / rows + w + 2 * shared


def mix_fixed_point(*, size: int, real_fraction: float, real: str) -> float:
    """Limit of Var mu under `mix`: 1/D with fresh real rows, (3 - 2 a)/D with fixed real rows. D = 1 - a + a M (2 - a)."""
    a = real_fraction
    fresh = 1 / (1 - a + a * size * (2 - a))
    return fresh if real == "fresh" else (3 - 2 * a) * fresh


def weighted_mean_error(generation: int, *, size: int, weight: float) -> float:
    """Var mu if only the mean is learned, from M fresh real rows (total weight w) and M generated rows (total weight 1 - w).

    Source: He, Xu & Cheng 2025.
    """
    w, v = weight, 1 / size
    for _ in range(generation):
        v = w**2 / size + (1 - w) ** 2 * (v + 1 / size)
    return v


def weighted_mean_limit(weight: float) -> float:
    """Limit of M Var mu in `weighted_mean_error`: (w^2 + (1-w)^2) / (1 - (1-w)^2).

    The minimum is at w = `golden_weight()`, and its value is the same number.
    """
    return (weight**2 + (1 - weight) ** 2) / (1 - (1 - weight) ** 2)


def golden_weight() -> float:
    """Best weight of real rows in `weighted_mean_error`: 1 / golden ratio = 0.618, the root of w^2 + w = 1 (He, Xu & Cheng 2025)."""
    return (np.sqrt(5) - 1) / 2


def effective_rows(wasserstein: float) -> float:
    """Number of real rows n >= 2 for which one fit has the given E W_2^2. Solves 2 (1 - c_n) = `wasserstein`, c_n of `mean_deviation`."""
    from scipy.special import gammaln

    sizes = np.geomspace(2, 1e6, 4000)
    risks = 2 * (1 - np.exp(0.5 * np.log(2 / sizes) + gammaln(sizes / 2) - gammaln((sizes - 1) / 2)))
    return float(np.exp(np.interp(np.log(wasserstein), np.log(risks[::-1]), np.log(sizes[::-1]))))


# ---- labels ---------------------------------------------------------------------------------------------------------


def regression_risk(generation: int, *, size: int, dimensions: int, noise: float = 1.0, policy: str = "replace") -> float:
    """Excess risk of least squares in d dimensions if each generation relabels the same points.

    The risk is b n under `replace` and b sum_{i=1..n} 1/i^2 under `accumulate`, where b = noise^2 d / (M - d - 1) (Dohmatob et al. 2024;
    Gerstgrasser et al. 2024, theorem 1). Under `replace-growing`, fit i has i M new points and the risk is
    sum_{i=1..n} noise^2 d / (i M - d - 1).
    """
    i, d = np.arange(1, generation + 2), dimensions
    rows = size * i if policy == "replace-growing" else np.full(len(i), size)
    share = 1 / i**2 if policy == "accumulate" else 1
    return float((noise**2 * d / (rows - d - 1) * share).sum())


def shifted_risk(*, size: int, dimensions: int, noise: float, shifted: float, shift: float) -> float:
    """Excess risk of least squares if some labels come from shifted weights (Dohmatob et al. 2024, "Strong model collapse").

    To first order in 1/n, the risk is noise^2 d/n + p^2 c^2 + p (1 - p) c^2 (d + 2)/n, where n is `size`, p is `shifted` and c is `shift`.
    More rows do not reduce the middle term.
    """
    p, c, d, n = shifted, shift, dimensions, size
    return noise**2 * d / n + p**2 * c**2 + p * (1 - p) * c**2 * (d + 2) / n


def verifier_threshold(*, keep_right: float, keep_wrong: float) -> float:
    """Critical label error rate of a verifier: 1 / (1 + psi/phi) (Feng et al. 2024).

    Below this share of wrong labels, the verifier keeps more correct than wrong labels. phi (`keep_right`) and psi
    (`keep_wrong`) are the probabilities of keeping a correct and a wrong label.
    """
    return 1 / (1 + keep_wrong / keep_right)


# ---- symbols --------------------------------------------------------------------------------------------------------


def extinction(generation: int, *, count: int, size: int) -> float:
    """Probability that a symbol is lost under `replace` if it occurs `count` times in the M rows that generation 0 trains on.

    The result is exact, because drawing M rows is one binomial step of a Wright-Fisher chain.
    """
    return float(_extinct(generation, size)[count])


@lru_cache(maxsize=64)
def _extinct(generation: int, size: int) -> np.ndarray:
    """Return the probability that a symbol is lost, for each initial count, float64 [size + 1]."""
    if generation == 0:
        return (np.arange(size + 1) == 0).astype(float)
    return _steps(size) @ _extinct(generation - 1, size)


@lru_cache(maxsize=2)
def _steps(size: int) -> np.ndarray:
    """Return transition probabilities from each count (row) to each count (column), float64 [size + 1, size + 1]."""
    from scipy.stats import binom

    counts = np.arange(size + 1)
    return binom.pmf(counts[None, :], size, counts[:, None] / size)


def extinction_poisson(generation: int, *, count: int) -> float:
    """Limit of `extinction` for large M: q_k^c in generation k for c = `count`, where q_0 = 0 and q_{k+1} = exp(q_k - 1).

    1 - q_k is about 2/k for large k, so half of the symbols are lost after about 2 c / ln 2 generations.
    """
    q = 0.0
    for _ in range(generation):
        q = np.exp(q - 1)
    return float(q**count)


def missing_mass(shares: np.ndarray, *, rows: int, made_from: int | None = None) -> float:
    """Expected missing mass: share of real draws whose symbol is not in a model fitted to `rows` rows. True frequencies p: `shares`.

    If the rows are real, the mass is sum p (1 - p)^rows (Good 1953); for Zipf's law it falls like rows^-(1 - 1/exponent). If a model
    fitted to `made_from` real rows generated the rows, it is sum p E (1 - c/made_from)^rows with binomial c. For any number of rows, this
    is at least sum p (1 - p)^made_from (Dohmatob et al. 2024, "A tale of tails").
    """
    from scipy.stats import binom

    if made_from is None:
        return float((shares * (1 - shares) ** rows).sum())
    counts = np.arange(min(made_from, 80) + 1)  # higher counts are lost with probability below e^-80 if rows >= made_from
    lost = (1 - counts / made_from) ** rows
    return float((shares * (binom.pmf(counts[None, :], made_from, shares[:, None]) @ lost)).sum())


# ---- kernels --------------------------------------------------------------------------------------------------------


def kde_variance(generation: int, *, size: int, bandwidth: float, policy: str = "replace") -> float:
    """Expected variance of a kernel density estimate with kernel width h = `bandwidth` (Kazdan et al. 2024).

    The result is the variance of the points plus h^2. Its limit under `replace` is M h^2. Under `accumulate` it grows like h^2 ln n.
    """
    h2, points = bandwidth**2, 1 - 1 / size
    for k in range(1, generation + 1):
        if policy == "replace":
            points = (1 - 1 / size) * (points + h2)
        else:
            points = points * (1 - 1 / ((k + 1) ** 2 * size)) + h2 / (k + 1) * (1 - 1 / ((k + 1) * size))
    return points + h2
