"""Generators whose collapse is known exactly. They run through the same loop, so that `laws` can test the loop itself."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from .generator import Fitted
from .pool import REAL, Pool
from .seeds import stream


@dataclass(frozen=True)
class GaussianData:
    """Standard normal numbers in many independent worlds: column `x`, float64 [n, worlds].

    Every world is a chain of its own; they share only the row choices of the policy. Thousands cost little more than one.
    """

    rows: Annotated[int, Field(ge=2)] = 1_000
    """Rows of the training split (real rows and reserve)."""
    worlds: Annotated[int, Field(ge=1)] = 1
    seed: int = 0
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "analytic"

    def load(self, *, eval_size: int) -> Mapping[str, Pool]:
        rng = stream(self.seed, "gaussian")
        sizes = {"train": self.rows, "heldout": eval_size, "control": eval_size}
        return {name: Pool.of(x=rng.standard_normal((n, self.worlds))).note(generation=REAL) for name, n in sizes.items()}


@dataclass(frozen=True)
class GaussianSampling:
    scale: Annotated[float, Field(gt=0)] = 1.0
    """lambda: samples come from N(mean, scale * variance) (Alemohammad et al. 2024, sampling bias)."""


@dataclass
class Gaussian:
    """A Gaussian fitted to every world on its own: N(mean, variance) by maximum likelihood (`ddof: 0`) or unbiased (1)."""

    ddof: Literal[0, 1] = 0
    sampling: GaussianSampling = field(default_factory=GaussianSampling)
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "analytic"
    columns: ClassVar[tuple[str, ...]] = ("x",)

    def fit(self, pool: Pool, *, seed: int, scratch: Path, fresh: bool = False) -> Fitted:
        x = pool.array("x")
        self.mean, self.variance = x.mean(axis=0), x.var(axis=0, ddof=self.ddof)
        return Fitted.once("samples", len(pool))

    def sample(self, n: int, *, seed: int, given: Pool | None = None) -> Pool:
        noise = stream(seed).standard_normal((n, self.mean.size))
        return Pool.of(x=self.mean + np.sqrt(self.sampling.scale * self.variance) * noise)

    def score(self, pool: Pool) -> np.ndarray:
        """Nats of each row, averaged over worlds; float64 [n]."""
        error = (pool.array("x") - self.mean) ** 2 / self.variance
        return 0.5 * (error + np.log(2 * np.pi * self.variance)).mean(axis=1)

    def save(self, folder: Path) -> None:
        np.save(folder / "gaussian.npy", np.stack([self.mean, self.variance]))

    def load(self, folder: Path) -> None:
        self.mean, self.variance = np.load(folder / "gaussian.npy", allow_pickle=False)
