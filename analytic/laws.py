"""Closed forms: what theory says a loop must give. Truth of variance 1; generation g is the (g + 1)-th fit, M rows each.

Maximum-likelihood fits (`ddof: 0`) unless said otherwise. "Expected" laws are about the mean over chains, "typical" ones
about the mean of the log: the typical chain dies at rate 2/M, the expectation at 1/M, and papers mix the two.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import numpy as np


def conserved(variance: np.ndarray | float, mean_squared_error: np.ndarray | float) -> np.ndarray | float:
    """E s^2 + Var mu: 1 in every generation of every policy that selects nothing, if samples are unbiased.

    Each training point has marginal variance 1 by induction, and the MLE splits it into the two parts. It fails if data
    leak, are counted twice or are selected, so it tests a loop rather than a generator.
    """
    return variance + mean_squared_error


# ---- replace --------------------------------------------------------------------------------------------------------


def replace_variance(generation: int, *, size: int, scale: float = 1.0, ddof: int = 0) -> float:
    """E s^2 under `replace`: scale^(n-1) (1 - 1/M)^n with n = generation + 1, without the last factor if unbiased.

    Shumailov et al. 2024 with the MLE's factor; with samples from N(mu, scale s^2), Alemohammad et al. 2024, eq. 2.
    """
    return scale**generation * (1.0 if ddof else (1 - 1 / size) ** (generation + 1))


def replace_log_variance(generation: int, *, size: int, ddof: int = 0, dimensions: int = 1) -> float:
    """E ln det S / d under `replace`: n [mean_j psi((M-j)/2) - ln((M - ddof)/2)], nats; with d = 1 that is E ln s^2."""
    from scipy.special import psi

    j = np.arange(1, dimensions + 1)
    return (generation + 1) * float(psi((size - j) / 2).mean() - np.log((size - ddof) / 2))


def replace_log_variance_spread(generation: int, *, size: int) -> float:
    """Var ln s^2 under `replace`: n psi1((M-1)/2), nats^2."""
    from scipy.special import polygamma

    return (generation + 1) * float(polygamma(1, (size - 1) / 2))


def replace_mean_squared_error(generation: int, *, size: int, ddof: int = 0) -> float:
    """Var mu under `replace`: 1 - (1 - 1/M)^n, or n/M with the unbiased estimator."""
    n = generation + 1
    return n / size if ddof else 1 - (1 - 1 / size) ** n


def mean_deviation(size: int, *, ddof: int = 0) -> float:
    """E s of one fit, in true standard deviations: c_M = sqrt(2/M) Gamma(M/2) / Gamma((M-1)/2), or the unbiased one's c_4."""
    from scipy.special import gammaln

    return float(np.sqrt(2 / (size - ddof)) * np.exp(gammaln(size / 2) - gammaln((size - 1) / 2)))


def replace_wasserstein(generation: int, *, size: int, ddof: int = 0) -> float:
    """E W_2^2 between fit and truth under `replace`: 2 (1 - c_M^n), or n/M + 2 (1 - c_4^n) with the unbiased estimator."""
    n = generation + 1
    return (n / size if ddof else 0.0) + 2 * (1 - mean_deviation(size, ddof=ddof) ** n)


def growing_variance(sizes: Sequence[int]) -> float:
    """E s^2 under `replace` when the i-th fit has sizes[i] rows: prod (1 - 1/M_i), positive in the limit iff sum 1/M_i is finite."""
    return float(np.prod(1 - 1 / np.asarray(sizes, dtype=float)))


# ---- accumulate -----------------------------------------------------------------------------------------------------


def accumulate_variance(generation: int, *, size: int, scale: float = 1.0) -> float:
    """E s^2 under `accumulate`: (1 - 1/M) prod_{j=2..n} [1 - (1 - scale)/j - scale/(j^2 M)].

    Without bias it stays above 1 - pi^2/(6M) (Gerstgrasser et al. 2024); with it, it goes to 0 as n^-(1 - scale).
    """
    j = np.arange(2, generation + 2)
    return float((1 - 1 / size) * np.prod(1 - (1 - scale) / j - scale / (j**2 * size)))


def accumulate_limit(*, size: int) -> float:
    """E s^2 under `accumulate` without bias after infinitely many generations: sin(pi/sqrt M) / (pi/sqrt M)."""
    return float(np.sinc(1 / np.sqrt(size)))


def accumulate_variance_unbiased(generation: int, *, size: int) -> float:
    """E s^2 under `accumulate` with `ddof: 1`: prod_{j=2..n} (1 - 1/(j (jM - 1))); batches share a wandering mean, so not 1."""
    j = np.arange(2, generation + 2)
    return float(np.prod(1 - 1 / (j * (j * size - 1))))


def subsample_variance(generation: int, *, size: int) -> float:
    """E s^2 under `accumulate-subsample` (Kazdan et al. 2024), through the variance of the pool it draws from."""

    def shared(k: int) -> float:
        """Covariance that drawing M of k M rows without replacement leaves between draws, as a share of the pool's variance."""
        return (k * size - size) / (size * (k * size - 1))

    pool = 1 - 1 / size
    for k in range(1, generation + 1):
        pool *= 1 - (shared(k) + (1 - shared(k)) / size) / (k + 1) ** 2
    return (1 - shared(generation + 1)) * pool


# ---- a share of real rows -------------------------------------------------------------------------------------------


def mix_fresh(generation: int, *, size: int, real_fraction: float | Sequence[float], scale: float = 1.0) -> tuple[float, float]:
    """E s^2 and Var mu under `mix` with fresh real rows, if real_fraction * size is whole; a list is for generations 1, 2, ...

    Fixed point 1 - 1/D and 1/D (Bertrand et al. 2024), see `mix_fixed_point`.
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
    """E s^2 and Var mu under `mix` with the same real rows every generation, if real_fraction * size is whole.

    With x the mean of the fixed rows and e = mu - x: e' = (1 - a)(e + noise), and real and made rows' means differ by e + noise.
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
    """Var mu that `mix` settles at: 1/D with fresh rows; with fixed ones exactly 3 - 2 real_fraction times that."""
    a = real_fraction
    fresh = 1 / (1 - a + a * size * (2 - a))
    return fresh if real == "fresh" else (3 - 2 * a) * fresh


def weighted_mean_error(generation: int, *, size: int, weight: float) -> float:
    """Var mu with known variance, `size` fresh real rows of weight `weight` in all beside `size` made ones (He, Xu & Cheng 2025)."""
    w, v = weight, 1 / size
    for _ in range(generation):
        v = w**2 / size + (1 - w) ** 2 * (v + 1 / size)
    return v


def weighted_mean_limit(weight: float) -> float:
    """M Var mu of the same in the limit: (w^2 + (1-w)^2) / (1 - (1-w)^2), least at 1 / the golden ratio, and as much there."""
    return (weight**2 + (1 - weight) ** 2) / (1 - (1 - weight) ** 2)


def golden_weight() -> float:
    """The root of w^2 + w = 1."""
    return (np.sqrt(5) - 1) / 2


def effective_rows(wasserstein: float) -> float:
    """How many real rows alone would give a Gaussian fit this E W_2^2: the root of 2 (1 - c_n) = wasserstein, n >= 2."""
    from scipy.special import gammaln

    sizes = np.geomspace(2, 1e6, 4000)
    risks = 2 * (1 - np.exp(0.5 * np.log(2 / sizes) + gammaln(sizes / 2) - gammaln((sizes - 1) / 2)))
    return float(np.exp(np.interp(np.log(wasserstein), np.log(risks[::-1]), np.log(sizes[::-1]))))


# ---- labels ---------------------------------------------------------------------------------------------------------


def regression_risk(generation: int, *, size: int, dimensions: int, noise: float = 1.0, policy: str = "replace") -> float:
    """Excess risk of least squares that relabels the same points: b n under `replace`, b sum 1/i^2 under `accumulate`.

    b = noise^2 d / (M - d - 1) (Dohmatob et al. 2024; Gerstgrasser et al. 2024, theorem 1). Under `replace-growing`, whose i-th fit
    has i M new points, the exact sum over i of noise^2 d / (i M - d - 1).
    """
    i, d = np.arange(1, generation + 2), dimensions
    rows = size * i if policy == "replace-growing" else np.full(len(i), size)
    share = 1 / i**2 if policy == "accumulate" else 1
    return float((noise**2 * d / (rows - d - 1) * share).sum())


def shifted_risk(*, size: int, dimensions: int, noise: float, shifted: float, shift: float) -> float:
    """Excess risk of least squares when a share of labels comes from weights `shift` away, to first order in 1/n (Dohmatob et al. 2024).

    noise^2 d/n + p^2 c^2 + p (1 - p) c^2 (d + 2)/n: the middle term is a floor that no number of rows lowers.
    """
    p, c, d, n = shifted, shift, dimensions, size
    return noise**2 * d / n + p**2 * c**2 + p * (1 - p) * c**2 * (d + 2) / n


def verifier_threshold(*, keep_right: float, keep_wrong: float) -> float:
    """The share of wrong labels up to which a verifier leaves more right ones than wrong: 1 / (1 + psi/phi) (Feng et al. 2024)."""
    return 1 / (1 + keep_wrong / keep_right)


# ---- symbols --------------------------------------------------------------------------------------------------------


def extinction(generation: int, *, count: int, size: int) -> float:
    """The chance that a symbol seen `count` times in generation 0's M rows is in no later generation's model under `replace`.

    Exact: drawing M rows is a binomial step of the Wright-Fisher chain.
    """
    return float(_extinct(generation, size)[count])


@lru_cache(maxsize=64)
def _extinct(generation: int, size: int) -> np.ndarray:
    """By count, float64 [size + 1]."""
    if generation == 0:
        return (np.arange(size + 1) == 0).astype(float)
    return _steps(size) @ _extinct(generation - 1, size)


@lru_cache(maxsize=2)
def _steps(size: int) -> np.ndarray:
    """The chance of each count after each count, float64 [size + 1, size + 1]."""
    from scipy.stats import binom

    counts = np.arange(size + 1)
    return binom.pmf(counts[None, :], size, counts[:, None] / size)


def extinction_poisson(generation: int, *, count: int) -> float:
    """The same for many rows: q_k^c with q_0 = 0, q_{k+1} = exp(q_k - 1); 1 - q_k ~ 2/k, so the half-life is about 2 c / ln 2."""
    q = 0.0
    for _ in range(generation):
        q = np.exp(q - 1)
    return float(q**count)


def missing_mass(shares: np.ndarray, *, rows: int, made_from: int | None = None) -> float:
    """E of the share of draws whose symbol a table of counts does not know; shares float64 [symbols] are the truth's.

    From real rows: sum p (1 - p)^rows (Good 1953), for Zipf's law ~ rows^-(1 - 1/exponent). From rows that a table of `made_from` real
    ones made: sum p E (1 - c/made_from)^rows with c binomial, which no number of rows brings below sum p (1 - p)^made_from
    (Dohmatob et al. 2024, "A tale of tails").
    """
    from scipy.stats import binom

    if made_from is None:
        return float((shares * (1 - shares) ** rows).sum())
    counts = np.arange(min(made_from, 80) + 1)  # more copies than that are lost with a chance below e^-80 if rows >= made_from
    lost = (1 - counts / made_from) ** rows
    return float((shares * (binom.pmf(counts[None, :], made_from, shares[:, None]) @ lost)).sum())


# ---- kernels --------------------------------------------------------------------------------------------------------


def kde_variance(generation: int, *, size: int, bandwidth: float, policy: str = "replace") -> float:
    """E of the variance of a kernel density estimate, points and kernel (Kazdan et al. 2024).

    Under `replace` it goes to M h^2; under `accumulate` it grows by h^2 ln n without end.
    """
    h2, points = bandwidth**2, 1 - 1 / size
    for k in range(1, generation + 1):
        if policy == "replace":
            points = (1 - 1 / size) * (points + h2)
        else:
            points = points * (1 - 1 / ((k + 1) ** 2 * size)) + h2 / (k + 1) * (1 - 1 / ((k + 1) * size))
    return points + h2
