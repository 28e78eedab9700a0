"""Closed forms: what theory says a loop of Gaussian fits must give. Truth N(0, 1); generation g is the (g + 1)-th fit.

Maximum-likelihood fits (`ddof: 0`) unless said otherwise. "Expected" laws are about the mean over chains, "typical" ones
about the mean of the log: the typical chain dies at rate 2/M, the expectation at 1/M, and papers mix the two.
"""

from __future__ import annotations

import numpy as np
from scipy.special import polygamma, psi


def replace_variance(generation: int, *, size: int) -> float:
    """E s^2 under `replace`: (1 - 1/M)^n with n = generation + 1 (Shumailov et al. 2024, with the MLE's factor)."""
    return (1 - 1 / size) ** (generation + 1)


def replace_log_variance(generation: int, *, size: int, ddof: int = 0) -> float:
    """E ln s^2 under `replace`: n [psi((M-1)/2) - ln((M - ddof)/2)], nats."""
    return (generation + 1) * float(psi((size - 1) / 2) - np.log((size - ddof) / 2))


def replace_log_variance_spread(generation: int, *, size: int) -> float:
    """Var ln s^2 under `replace`: n psi1((M-1)/2), nats^2."""
    return (generation + 1) * float(polygamma(1, (size - 1) / 2))


def accumulate_variance(generation: int, *, size: int) -> float:
    """E s^2 under `accumulate`: prod_{j<=n} (1 - 1/(j^2 M)), which stays above 1 - pi^2/(6M) (Gerstgrasser et al. 2024)."""
    j = np.arange(1, generation + 2)
    return float(np.prod(1 - 1 / (j**2 * size)))


def conserved(variance: np.ndarray | float, mean_squared_error: np.ndarray | float) -> np.ndarray | float:
    """E s^2 + Var mu: 1 in every generation of every policy that selects nothing, if samples are unbiased.

    Each training point has marginal variance 1 by induction, and the MLE splits it into the two parts. It fails if data
    leak, are counted twice or are selected, so it tests a loop rather than a generator.
    """
    return variance + mean_squared_error


def replace_variance_biased(generation: int, *, size: int, scale: float, ddof: int = 0) -> float:
    """E s^2 under `replace` with samples from N(mu, scale s^2): scale^(n-1) (1 - 1/M)^n, without the last factor if unbiased."""
    n = generation + 1
    return scale ** (n - 1) * (1.0 if ddof else (1 - 1 / size) ** n)


def accumulate_variance_unbiased(generation: int, *, size: int) -> float:
    """E s^2 under `accumulate` with `ddof: 1`: prod_{j=2..n} (1 - 1/(j (jM - 1))); batches share a wandering mean, so not 1."""
    j = np.arange(2, generation + 2)
    return float(np.prod(1 - 1 / (j * (j * size - 1))))


def accumulate_variance_biased(generation: int, *, size: int, scale: float) -> float:
    """E s^2 under `accumulate` with bias: (1 - 1/M) prod_{j=2..n} [1 - (1 - scale)/j - scale/(j^2 M)]; to 0 as n^-(1 - scale)."""
    j = np.arange(2, generation + 2)
    return float((1 - 1 / size) * np.prod(1 - (1 - scale) / j - scale / (j**2 * size)))


def subsample_variance(generation: int, *, size: int) -> float:
    """E s^2 under `accumulate-subsample` (Kazdan et al. 2024), through the variance of the pool it draws from."""

    def shared(k: int) -> float:
        """Covariance that drawing M of k M rows without replacement leaves between draws, as a share of the pool's variance."""
        return (k * size - size) / (size * (k * size - 1))

    pool = 1 - 1 / size
    for k in range(1, generation + 1):
        pool *= 1 - (shared(k) + (1 - shared(k)) / size) / (k + 1) ** 2
    return (1 - shared(generation + 1)) * pool


def mix_fresh_variance(generation: int, *, size: int, real_fraction: float, scale: float = 1.0) -> float:
    """E s^2 under `mix` with fresh real rows, if real_fraction * size is whole. Fixed point 1 - 1/D (Bertrand et al. 2024)."""
    a, m = real_fraction, size
    s, v = 1 - 1 / m, 1 / m
    for _ in range(generation):
        s, v = (
            a * (1 - 1 / m) + (1 - a) * (1 - 1 / m) * scale * s + a * (1 - a) * v,
            a / m + (1 - a) * scale * s / m + (1 - a) ** 2 * v,
        )
    return s


def mix_fixed_point(*, size: int, real_fraction: float, real: str) -> float:
    """Var mu that `mix` settles at: 1/D with fresh rows; with fixed ones 3 - 2 real_fraction times that, in the limit of many rows."""
    a = real_fraction
    d = 1 - a + a * size * (2 - a)
    if real == "fresh":
        return 1 / d
    return 1 / (a * size) + (1 - 1 / (a * size)) * (1 - a) / d


def replace_mean_squared_error(generation: int, *, size: int, ddof: int = 0) -> float:
    """Var mu under `replace`: 1 - (1 - 1/M)^n, or n/M with the unbiased estimator."""
    n = generation + 1
    return n / size if ddof else 1 - (1 - 1 / size) ** n
