"""Generators for numbers and vectors: a Gaussian and a kernel density estimate. Each replicate is fitted separately."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from ..common.components.fitted import Fitted
from ..common.components.generator import FitResult
from ..common.core.errors import UserError
from ..common.core.pool import Pool
from ..common.core.random_streams import stream


@dataclass(frozen=True)
class GaussianSampling:
    """Sampling settings of `gaussian`."""

    variance_scale: Annotated[float, Field(gt=0)] = 1.0
    """Factor lambda for the covariance (sampling bias of Alemohammad et al. 2024). Samples come from N(mean, lambda covariance)."""


@dataclass
class Gaussian:
    """A Gaussian N(mean, covariance) with d dimensions.

    The fitted `mean` is float64 [replicates, d] and the fitted `covariance` is float64 [replicates, d, d].
    """

    ddof: Literal[0, 1] = 0
    """Divisor of the covariance is n - ddof. 0: maximum likelihood. 1: unbiased."""
    known_variance: Annotated[float, Field(gt=0)] | None = None
    """Fixed variance of each dimension. If set, only the mean is learned."""
    sampling: GaussianSampling = field(default_factory=GaussianSampling)
    version: ClassVar[int] = 2
    modality: ClassVar[str] = "analytic"
    columns: ClassVar[tuple[str, ...]] = ("x",)
    mean = Fitted[np.ndarray]()
    covariance = Fitted[np.ndarray]()

    def fit(self, pool: Pool, *, seed: int, scratch: Path, fresh: bool = False) -> FitResult:
        x = _points(pool)
        n, replicates, d = x.shape
        if self.known_variance is None and n <= d:
            raise UserError(f"generator 'gaussian': a covariance in {d} dimensions needs at least {d + 1} rows, not {n}; increase size")
        self.mean = x.mean(axis=0)
        if self.known_variance is None:
            self.covariance = _sums_of_products(x - self.mean) / (n - self.ddof)
        else:
            self.covariance = np.broadcast_to(self.known_variance * np.eye(d), (replicates, d, d))
        return FitResult.closed_form("samples", n)

    def sample(self, n: int, *, seed: int, given: Pool | None = None) -> Pool:
        noise = stream(seed).standard_normal((n, *self.mean.shape))
        return _pool(self.mean + np.sqrt(self.sampling.variance_scale) * _times(noise, _root(self.covariance)))

    def score(self, pool: Pool) -> np.ndarray:
        """Return the negative log-likelihood of each row in nats, float64 [n], mean over replicates.

        Raises UserError if a covariance is singular.
        """
        error = _points(pool) - self.mean
        try:
            precision = np.linalg.inv(self.covariance)
        except np.linalg.LinAlgError as fault:
            raise UserError(
                "generator 'gaussian': a fitted variance is 0, so the likelihood is undefined; the model has collapsed to a point. "
                "Remove the metric that scores rows, or use fewer generations."
            ) from fault
        distance = (error * _times(error, precision)).sum(axis=2)
        return 0.5 * (distance + np.linalg.slogdet(2 * np.pi * self.covariance).logabsdet).mean(axis=1)

    def save(self, folder: Path) -> None:
        np.save(folder / "mean.npy", self.mean)
        np.save(folder / "covariance.npy", self.covariance)

    def load(self, folder: Path) -> None:
        self.mean = np.load(folder / "mean.npy", allow_pickle=False)
        self.covariance = np.load(folder / "covariance.npy", allow_pickle=False)


@dataclass
class KDE:
    """A kernel density estimate (KDE) with a Gaussian kernel of fixed width (Kazdan et al. 2024)."""

    bandwidth: Annotated[float, Field(gt=0)] = 0.2
    """Standard deviation of the kernel."""
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "analytic"
    columns: ClassVar[tuple[str, ...]] = ("x",)
    points = Fitted[np.ndarray]()
    """The training points, float64 [n, replicates, d]."""

    def fit(self, pool: Pool, *, seed: int, scratch: Path, fresh: bool = False) -> FitResult:
        self.points = _points(pool)
        return FitResult.closed_form("samples", len(pool))

    @property
    def mean(self) -> np.ndarray:
        """Mean of the density estimate, float64 [replicates, d]."""
        return self.points.mean(axis=0)

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of the density estimate, float64 [replicates, d, d]: covariance of the points plus covariance of the kernel."""
        n, _, d = self.points.shape
        return _sums_of_products(self.points - self.mean) / n + self.bandwidth**2 * np.eye(d)

    def sample(self, n: int, *, seed: int, given: Pool | None = None) -> Pool:
        points, replicates, d = self.points.shape
        chosen = stream(seed, "points").integers(points, size=(n, replicates))
        centres = np.take_along_axis(self.points, chosen[..., None], axis=0)
        return _pool(centres + self.bandwidth * stream(seed, "kernel").standard_normal((n, replicates, d)))

    def save(self, folder: Path) -> None:
        np.save(folder / "points.npy", self.points)

    def load(self, folder: Path) -> None:
        self.points = np.load(folder / "points.npy", allow_pickle=False)


def _points(pool: Pool) -> np.ndarray:
    """Return column `x` as float64 [n, replicates, d], with d = 1 for numbers. Raises UserError if the column has other axes."""
    x = pool.array("x")
    if x.ndim not in (2, 3):
        raise UserError(
            f"generator: column 'x' must have the axes (rows, replicates) or (rows, replicates, dimensions), but it has the shape "
            f"{x.shape}; use data 'gaussian'"
        )
    return x.reshape(*x.shape[:2], -1)


def _pool(x: np.ndarray) -> Pool:
    """Return a pool with column `x`, from x float64 [n, replicates, d]. For d = 1 the last axis is removed, as in the data."""
    return Pool.of(x=x[..., 0] if x.shape[2] == 1 else x)


def _sums_of_products(error: np.ndarray) -> np.ndarray:
    """Sum the outer products error error^T over rows. `error` is float64 [n, replicates, d]; the result is [replicates, d, d]."""
    by_replicate = error.transpose(1, 2, 0)
    return by_replicate @ by_replicate.transpose(0, 2, 1)


def _times(x: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """Multiply x [n, replicates, d] by symmetric matrices [replicates, d, d]. Returns float64 [n, replicates, d]."""
    return x * matrices[:, :, 0] if x.shape[2] == 1 else np.einsum("nwi,wij->nwj", x, matrices)


def _root(covariance: np.ndarray) -> np.ndarray:
    """Return symmetric square roots of covariance matrices [replicates, d, d]. The matrices may be singular."""
    if covariance.shape[1] == 1:
        return np.sqrt(covariance)
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0))[:, None, :]) @ vectors.transpose(0, 2, 1)
