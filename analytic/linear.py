"""Models that give points a label and never make the points: least squares in many worlds, and a classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
from pydantic import Field

from ..common.components.curation import CurationResult
from ..common.components.generator import FitResult
from ..common.components.metric import MetricInfo, MetricInputs
from ..common.core.errors import UserError
from ..common.core.pool import Pool
from ..common.core.random_streams import stream
from .data import shaped, true_labels

Probability = Annotated[float, Field(ge=0, le=1)]


@dataclass
class Regression:
    """Least squares in every world, `weights` float64 [worlds, d]. It labels the points it is given, or new ones, with noise of a
    known size (Dohmatob et al. 2024; Gerstgrasser et al. 2024, sec. 3)."""

    noise: Annotated[float, Field(ge=0)] = 1.0
    """Standard deviation of the noise on the labels it makes."""
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "analytic"
    columns: ClassVar[tuple[str, ...]] = ("x", "y")
    continues: ClassVar[bool] = True

    def __post_init__(self) -> None:
        self.weights: np.ndarray | None = None

    def fit(self, pool: Pool, *, seed: int, scratch: Path, fresh: bool = False) -> FitResult:
        x, y = shaped(pool, "regression", x=("rows", "worlds", "dimensions"), y=("rows", "worlds"))
        x, y = x.transpose(1, 2, 0), y.T  # [worlds, d, n], [worlds, n]
        if x.shape[2] <= x.shape[1]:
            raise UserError(f"generator 'regression': {x.shape[1]} weights need more than {x.shape[1]} rows, not {x.shape[2]}")
        try:
            self.weights = np.linalg.solve(x @ x.transpose(0, 2, 1), x @ y[..., None])[..., 0]
        except np.linalg.LinAlgError as error:
            raise UserError("generator 'regression': the points of a world lie in fewer dimensions than it has weights") from error
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
    flip: Probability = 0.0
    """Share of made labels that are turned round, each with this chance."""


@dataclass
class LinearClassifier:
    """A plane through the origin, its `normal` float64 [d]: the mean of y x, which points along the true normal for symmetric noise."""

    sampling: Flipping = field(default_factory=Flipping)
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "analytic"
    columns: ClassVar[tuple[str, ...]] = ("x", "y")

    def __post_init__(self) -> None:
        self.normal: np.ndarray | None = None

    def fit(self, pool: Pool, *, seed: int, scratch: Path, fresh: bool = False) -> FitResult:
        x, y = shaped(pool, "linear-classifier", x=("rows", "dimensions"), y=("rows",))
        self.normal = (y[:, None] * x).mean(axis=0)
        return FitResult.closed_form("samples", len(pool))

    def sample(self, n: int, *, seed: int, given: Pool | None = None) -> Pool:
        x = stream(seed, "x").standard_normal((n, len(self.normal)))
        right = np.where(x @ self.normal >= 0, 1, -1)
        return Pool.of(x=x, y=np.where(stream(seed, "flip").random(n) < self.sampling.flip, -right, right))

    def save(self, folder: Path) -> None:
        np.save(folder / "normal.npy", self.normal)

    def load(self, folder: Path) -> None:
        self.normal = np.load(folder / "normal.npy", allow_pickle=False)


@dataclass(frozen=True)
class VerifyLabels:
    """Keeps rightly labelled rows with one chance and wrongly labelled ones with another (Feng et al. 2024, their phi and psi)."""

    keep_right: Probability = 0.9
    keep_wrong: Probability = 0.1
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[str, ...]] = ("x", "y")

    def expected_keep_rate(self, *, synthetic_fraction: float) -> float:
        return max(0.01, (self.keep_right + self.keep_wrong) / 2)

    def __call__(self, candidates: Pool, inputs: MetricInputs, *, rng: np.random.Generator) -> CurationResult:
        right = candidates.array("y") == true_labels(candidates.array("x"))
        kept = np.flatnonzero(rng.random(len(right)) < np.where(right, self.keep_right, self.keep_wrong))
        return CurationResult(kept, {"wrong_before": 1 - right.mean(), "wrong_after": 1 - right[kept].mean() if len(kept) else 0.0})


@dataclass(frozen=True)
class ExcessRisk:
    """What the error of the weights adds to the squared error on new points, |w - e_1|^2, averaged over worlds."""

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("model",)
    columns: ClassVar[tuple[str, ...]] = ("x", "y")
    abilities: ClassVar[tuple[str, ...]] = ("weights",)
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "excess_risk": MetricInfo("fidelity", "squared label", False, "Dohmatob et al. 2024"),
        "excess_risk_se": MetricInfo("fidelity", "squared label", None, "standard error over worlds"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        weights = inputs.model.weights
        risk = ((weights - _truth(weights)) ** 2).sum(axis=-1)
        return {"excess_risk": risk.mean(), "excess_risk_se": risk.std(ddof=1) / np.sqrt(risk.size) if risk.size > 1 else 0.0}


@dataclass(frozen=True)
class PlaneAccuracy:
    """The share of new points on the right side of a classifier's plane: 1 - angle / pi, exactly."""

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("model",)
    columns: ClassVar[tuple[str, ...]] = ("x", "y")
    abilities: ClassVar[tuple[str, ...]] = ("normal",)
    outputs: ClassVar[Mapping[str, MetricInfo]] = {"plane_accuracy": MetricInfo("fidelity", "share", True, "Feng et al. 2024")}

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        normal = inputs.model.normal
        return {"plane_accuracy": 1 - np.arccos(np.clip(normal[0] / np.linalg.norm(normal), -1, 1)) / np.pi}


def _truth(weights: Any) -> np.ndarray:
    """e_1, for weights [..., d]."""
    return np.eye(weights.shape[-1])[0]
