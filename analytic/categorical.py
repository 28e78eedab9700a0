"""A generator of symbols, based on symbol counts for each replicate. It is a unigram model, or one context of an n-gram model."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from ..common.components.fitted import Fitted
from ..common.components.generator import FitResult
from ..common.core.errors import UserError
from ..common.core.pool import Pool
from ..common.core.random_streams import stream
from .data import arrays_with_axes


@dataclass
class Categorical:
    """A unigram model: maximum-likelihood frequencies of symbols.

    The fitted `counts` are int64 [replicates, symbols]. Sampling is exact, because it uses integer arithmetic.
    """

    version: ClassVar[int] = 1
    modality: ClassVar[str] = "analytic"
    columns: ClassVar[tuple[str, ...]] = ("x",)
    counts = Fitted[np.ndarray]()

    def fit(self, pool: Pool, *, seed: int, scratch: Path, fresh: bool = False) -> FitResult:
        [x] = arrays_with_axes(pool, "categorical", x=("rows", "replicates"))
        if x.dtype.kind not in "iu" or x.min() < 0:
            raise UserError(
                f"generator 'categorical': symbols must be integers from 0 on, but this data has {x.dtype} with minimum {x.min()}"
            )
        self.counts = symbol_counts(x)
        return FitResult.closed_form("samples", len(pool))

    def sample(self, n: int, *, seed: int, given: Pool | None = None) -> Pool:
        replicates, symbols = self.counts.shape
        rows = self.counts[0].sum()
        drawn = stream(seed).integers(rows, size=(n, replicates))  # indices of training rows, sorted by symbol
        offsets = rows * np.arange(replicates)  # replicate r uses numbers from r * rows on, so one search covers all replicates
        cumulative = self.counts.cumsum(axis=1) + offsets[:, None]
        positions = np.searchsorted(cumulative.ravel(), (drawn + offsets).ravel(), side="right")
        return Pool.of(x=positions.reshape(n, replicates) - symbols * np.arange(replicates))

    def save(self, folder: Path) -> None:
        np.save(folder / "counts.npy", self.counts)

    def load(self, folder: Path) -> None:
        self.counts = np.load(folder / "counts.npy", allow_pickle=False)


def symbol_counts(x: np.ndarray) -> np.ndarray:
    """Count each symbol in each replicate of `x`, int64 [n, replicates]. Returns int64 [replicates, largest symbol + 1]."""
    replicates, symbols = x.shape[1], int(x.max()) + 1
    numbered = x + symbols * np.arange(replicates)  # replicates use disjoint ranges of numbers, so one bincount covers all
    return np.bincount(numbered.ravel(), minlength=replicates * symbols).reshape(replicates, symbols)
