"""A table of counts in every world: what a unigram model, or one context of an n-gram model, learns."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ..common.components.generator import FitResult
from ..common.core.errors import UserError
from ..common.core.pool import Pool
from ..common.core.random_streams import stream
from .data import shaped


@dataclass
class Categorical:
    """Maximum-likelihood frequencies of symbols, `counts` int64 [worlds, symbols]; drawn from exactly, in whole numbers."""

    version: ClassVar[int] = 1
    modality: ClassVar[str] = "analytic"
    columns: ClassVar[tuple[str, ...]] = ("x",)

    def __post_init__(self) -> None:
        self.counts: np.ndarray | None = None

    def fit(self, pool: Pool, *, seed: int, scratch: Path, fresh: bool = False) -> FitResult:
        [x] = shaped(pool, "categorical", x=("rows", "worlds"))
        if x.dtype.kind not in "iu" or x.min() < 0:
            raise UserError(f"generator 'categorical': symbols are whole numbers from 0 on, this data has {x.dtype} from {x.min()} on")
        self.counts = count(x)
        return FitResult.closed_form("samples", len(pool))

    def sample(self, n: int, *, seed: int, given: Pool | None = None) -> Pool:
        worlds, symbols = self.counts.shape
        rows = self.counts[0].sum()
        drawn = stream(seed).integers(rows, size=(n, worlds))  # a training row each
        reached = self.counts.cumsum(axis=1) + rows * np.arange(worlds)[:, None]  # worlds one after the other: one search for all
        found = np.searchsorted(reached.ravel(), (drawn + rows * np.arange(worlds)).ravel(), side="right")
        return Pool.of(x=found.reshape(n, worlds) - symbols * np.arange(worlds))

    def save(self, folder: Path) -> None:
        np.save(folder / "counts.npy", self.counts)

    def load(self, folder: Path) -> None:
        self.counts = np.load(folder / "counts.npy", allow_pickle=False)


def count(x: np.ndarray) -> np.ndarray:
    """How often each symbol occurs in each world, int64 [worlds, greatest symbol + 1], of x int64 [n, worlds]."""
    worlds, symbols = x.shape[1], int(x.max()) + 1
    return np.bincount((x + symbols * np.arange(worlds)).ravel(), minlength=worlds * symbols).reshape(worlds, symbols)
