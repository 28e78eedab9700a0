"""Generators for numbers and vectors: a Gaussian and a kernel density estimate. Each replicate has a fit of its own."""

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
    """How rows are drawn."""

    variance_scale: Annotated[float, Field(gt=0)] = 1.0
    """lambda: multiplies the covariance. Samples come from N(mean, lambda covariance) (sampling bias of Alemohammad et al. 2024)."""


@dataclass
class Gaussian:
    """A Gaussian N(mean, covariance) with d dimensions.

    The fitted `mean` is float64 [replicates, d], `covariance` float64 [replicates, d, d].
    """

    ddof: Literal[0, 1] = 0
    """The covariance divides by n - ddof. 0: maximum likelihood. 1: unbiased."""
    known_variance: Annotated[float, Field(gt=0)] | None = None
    """If set, this is the variance of each dimension, and only the mean is learned."""
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
        """Negative log-likelihood of each row in nats, mean over replicates, float64 [n]. Raises UserError if a covariance is singular."""
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
        """Mean of the estimated density, float64 [replicates, d]."""
        return self.points.mean(axis=0)

    @property
    def covariance(self) -> np.ndarray:
        """Covariance of the estimated density, float64 [replicates, d, d]: that of the points plus that of the kernel."""
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
    """Column `x` as float64 [n, replicates, d]; d = 1 for numbers. Raises UserError if it has other axes."""
    x = pool.array("x")
    if x.ndim not in (2, 3):
        raise UserError(
            f"generator: column 'x' must have the axes (rows, replicates) or (rows, replicates, dimensions), but it has the shape "
            f"{x.shape}; use data 'gaussian'"
        )
    return x.reshape(*x.shape[:2], -1)


def _pool(x: np.ndarray) -> Pool:
    """A pool with column `x` in the shape of the data, from x float64 [n, replicates, d]."""
    return Pool.of(x=x[..., 0] if x.shape[2] == 1 else x)


def _sums_of_products(error: np.ndarray) -> np.ndarray:
    """Sums over rows of the products of dimensions, [replicates, d, d]. error: float64 [n, replicates, d]."""
    by_replicate = error.transpose(1, 2, 0)
    return by_replicate @ by_replicate.transpose(0, 2, 1)


def _times(x: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """x [n, replicates, d] times symmetric matrices [replicates, d, d], float64 [n, replicates, d]."""
    return x * matrices[:, :, 0] if x.shape[2] == 1 else np.einsum("nwi,wij->nwj", x, matrices)


def _root(covariance: np.ndarray) -> np.ndarray:
    """Symmetric square roots of covariances [replicates, d, d], which may be singular."""
    if covariance.shape[1] == 1:
        return np.sqrt(covariance)
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0))[:, None, :]) @ vectors.transpose(0, 2, 1)
