"""Models that label points: least squares and a linear classifier. They learn labels only, not the distribution of points."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from ..common.components.fitted import Fitted
from ..common.components.generator import FitResult
from ..common.core.errors import UserError
from ..common.core.pool import Pool
from ..common.core.random_streams import stream
from .data import arrays_with_axes


@dataclass
class Regression:
    """Linear regression by least squares (Dohmatob et al. 2024; Gerstgrasser et al. 2024, sec. 3).

    The model labels new standard normal points and adds noise of known size. With `prompts:` it labels the prompt points instead. The
    fitted `weights` are float64 [replicates, d], with one least-squares fit for each replicate.
    """

    noise: Annotated[float, Field(ge=0)] = 1.0
    """Standard deviation of the noise on generated labels."""
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "analytic"
    columns: ClassVar[tuple[str, ...]] = ("x", "y")
    continues: ClassVar[bool] = True
    weights = Fitted[np.ndarray]()

    def fit(self, pool: Pool, *, seed: int, scratch: Path, fresh: bool = False) -> FitResult:
        x, y = arrays_with_axes(pool, "regression", x=("rows", "replicates", "dimensions"), y=("rows", "replicates"))
        x, y = x.transpose(1, 2, 0), y.T  # [replicates, d, n], [replicates, n]
        if x.shape[2] <= x.shape[1]:
            raise UserError(f"generator 'regression': {x.shape[1]} weights need at least {x.shape[1] + 1} rows, not {x.shape[2]}")
        try:
            self.weights = np.linalg.solve(x @ x.transpose(0, 2, 1), x @ y[..., None])[..., 0]
        except np.linalg.LinAlgError as error:
            raise UserError(
                "generator 'regression': the points of a replicate do not span all dimensions; use more varied points"
            ) from error
        return FitResult.closed_form("samples", len(pool))

    def sample(self, n: int, *, seed: int, given: Pool | None = None) -> Pool:
        x = stream(seed, "x").standard_normal((n, *self.weights.shape)) if given is None else given.array("x")
        noise = stream(seed, "noise").standard_normal((n, len(self.weights)))
        return Pool.of(x=x, y=np.einsum("nwd,wd->nw", x, self.weights) + self.noise * noise)

    def save(self, folder: Path) -> None:
        np.save(folder / "weights.npy", self.weights)

    def load(self, folder: Path) -> None:
        self.weights = np.load(folder / "weights.npy", allow_pickle=False)


@dataclass(frozen=True)
class Flipping:
    """Label noise of `linear-classifier` in sampling."""

    flip: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Probability that a generated label is flipped."""


@dataclass
class LinearClassifier:
    """A linear classifier whose plane goes through the origin (Feng et al. 2024).

    The fitted `normal` of the plane is the mean of y x, float64 [d]. If less than half of
    the labels are flipped at random, its expectation has the direction of the true normal.
    """

    sampling: Flipping = field(default_factory=Flipping)
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "analytic"
    columns: ClassVar[tuple[str, ...]] = ("x", "y")
    normal = Fitted[np.ndarray]()

    def fit(self, pool: Pool, *, seed: int, scratch: Path, fresh: bool = False) -> FitResult:
        x, y = arrays_with_axes(pool, "linear-classifier", x=("rows", "dimensions"), y=("rows",))
        self.normal = (y[:, None] * x).mean(axis=0)
        return FitResult.closed_form("samples", len(pool))

    def sample(self, n: int, *, seed: int, given: Pool | None = None) -> Pool:
        x = stream(seed, "x").standard_normal((n, len(self.normal)))
        labels = np.where(x @ self.normal >= 0, 1, -1)
        return Pool.of(x=x, y=np.where(stream(seed, "flip").random(n) < self.sampling.flip, -labels, labels))

    def save(self, folder: Path) -> None:
        np.save(folder / "normal.npy", self.normal)

    def load(self, folder: Path) -> None:
        self.normal = np.load(folder / "normal.npy", allow_pickle=False)
