"""Generators that are fitted to numbers: a Gaussian and a kernel density estimate, in every world on its own."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from ..common.components.generator import FitResult
from ..common.core.errors import UserError
from ..common.core.pool import Pool
from ..common.core.random_streams import stream


@dataclass(frozen=True)
class GaussianSampling:
    variance_scale: Annotated[float, Field(gt=0)] = 1.0
    """lambda: samples come from N(mean, variance_scale * covariance) (Alemohammad et al. 2024, sampling bias)."""


@dataclass
class Gaussian:
    """A Gaussian fitted to every world on its own: N(mean, covariance) by maximum likelihood (`ddof: 0`) or unbiased (1).

    `mean` float64 [worlds, d], `covariance` float64 [worlds, d, d].
    """

    ddof: Literal[0, 1] = 0
    known_variance: Annotated[float, Field(gt=0)] | None = None
    """If given, only the mean is learned."""
    sampling: GaussianSampling = field(default_factory=GaussianSampling)
    version: ClassVar[int] = 2
    modality: ClassVar[str] = "analytic"
    columns: ClassVar[tuple[str, ...]] = ("x",)

    def __post_init__(self) -> None:
        self.mean: np.ndarray | None = None
        self.covariance: np.ndarray | None = None

    def fit(self, pool: Pool, *, seed: int, scratch: Path, fresh: bool = False) -> FitResult:
        x = _points(pool)
        n, worlds, d = x.shape
        if self.known_variance is None and n <= d:
            raise UserError(f"generator 'gaussian': a covariance in {d} dimensions needs more than {d} rows, not {n}")
        self.mean = x.mean(axis=0)
        if self.known_variance is None:
            self.covariance = _squares(x - self.mean) / (n - self.ddof)
        else:
            self.covariance = np.broadcast_to(self.known_variance * np.eye(d), (worlds, d, d))
        return FitResult.closed_form("samples", n)

    def sample(self, n: int, *, seed: int, given: Pool | None = None) -> Pool:
        noise = stream(seed).standard_normal((n, *self.mean.shape))
        return _pool(self.mean + np.sqrt(self.sampling.variance_scale) * _times(noise, _root(self.covariance)))

    def score(self, pool: Pool) -> np.ndarray:
        """Nats of each row, averaged over worlds; float64 [n]. UserError where all that was learned from is equal."""
        error = _points(pool) - self.mean
        try:
            precision = np.linalg.inv(self.covariance)
        except np.linalg.LinAlgError as fault:
            raise UserError(
                "generator 'gaussian': a variance is 0, so no row has a likelihood; the model has collapsed to a point"
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
    """A kernel density estimate in every world: the training points, each with a Gaussian kernel of fixed width (Kazdan et al. 2024)."""

    bandwidth: Annotated[float, Field(gt=0)] = 0.2
    """Standard deviation of the kernel."""
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "analytic"
    columns: ClassVar[tuple[str, ...]] = ("x",)

    def fit(self, pool: Pool, *, seed: int, scratch: Path, fresh: bool = False) -> FitResult:
        self.points = _points(pool)
        return FitResult.closed_form("samples", len(self.points))

    @property
    def mean(self) -> np.ndarray:
        """Of the estimated density, float64 [worlds, d]."""
        return self.points.mean(axis=0)

    @property
    def covariance(self) -> np.ndarray:
        """Of the estimated density, float64 [worlds, d, d]: that of the points and that of the kernel."""
        n, _, d = self.points.shape
        return _squares(self.points - self.mean) / n + self.bandwidth**2 * np.eye(d)

    def sample(self, n: int, *, seed: int, given: Pool | None = None) -> Pool:
        count, worlds, d = self.points.shape
        chosen = stream(seed, "points").integers(count, size=(n, worlds))
        centres = np.take_along_axis(self.points, chosen[..., None], axis=0)
        return _pool(centres + self.bandwidth * stream(seed, "kernel").standard_normal((n, worlds, d)))

    def save(self, folder: Path) -> None:
        np.save(folder / "points.npy", self.points)

    def load(self, folder: Path) -> None:
        self.points = np.load(folder / "points.npy", allow_pickle=False)


def _points(pool: Pool) -> np.ndarray:
    """Column `x` as float64 [n, worlds, d]; a world of numbers has d = 1."""
    x = pool.array("x")
    if x.ndim not in (2, 3):
        raise UserError(f"generator: 'x' is to have the axes rows, worlds and perhaps dimensions; this data's have the sizes {x.shape}")
    return x.reshape(*x.shape[:2], -1)


def _pool(x: np.ndarray) -> Pool:
    """x float64 [n, worlds, d] as the column it came from."""
    return Pool.of(x=x[..., 0] if x.shape[2] == 1 else x)


def _squares(error: np.ndarray) -> np.ndarray:
    """Sums of the products of errors float64 [n, worlds, d] over rows: [worlds, d, d]."""
    by_world = error.transpose(1, 2, 0)
    return by_world @ by_world.transpose(0, 2, 1)


def _times(x: np.ndarray, matrices: np.ndarray) -> np.ndarray:
    """x float64 [n, worlds, d] times symmetric matrices [worlds, d, d]: [n, worlds, d]."""
    return x * matrices[:, :, 0] if x.shape[2] == 1 else np.einsum("nwi,wij->nwj", x, matrices)


def _root(covariance: np.ndarray) -> np.ndarray:
    """The symmetric square roots of covariances [worlds, d, d]; also of singular ones."""
    if covariance.shape[1] == 1:
        return np.sqrt(covariance)
    values, vectors = np.linalg.eigh(covariance)
    return (vectors * np.sqrt(np.maximum(values, 0))[:, None, :]) @ vectors.transpose(0, 2, 1)
