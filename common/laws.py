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
