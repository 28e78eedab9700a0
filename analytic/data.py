"""Data sets of the analytic track: samples from known distributions, for many independent replicates.

Each replicate is a separate chain. A row of a pool holds one value for each replicate. The policy picks the same row numbers for all
replicates; nothing else is shared. Thousands of replicates cost little more than one replicate.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from ..common.core.errors import UserError
from ..common.core.pool import REAL, Pool
from ..common.core.random_streams import stream
from ..common.core.resources import check_memory

Count = Annotated[int, Field(ge=1)]


Draw = Callable[[int, np.random.Generator], Mapping[str, np.ndarray]]
"""Function `draw(n, rng)` that returns the columns of n rows."""


def draw_splits(rows: int, eval_size: int, rng: np.random.Generator, draw: Draw, *, numbers: int) -> Mapping[str, Pool]:
    """Draw the splits of a data set. All rows are independent. `numbers` is the count of 8-byte numbers in a row.

    Raises UserError if the splits do not fit into memory.
    """
    sizes = {"train": rows, "heldout": eval_size, "control": eval_size}
    check_memory(8 * numbers * sum(sizes.values()), what=f"data: {sum(sizes.values()):,} rows of {numbers:,} numbers each")
    return {name: Pool.of(**draw(n, rng)).note(generation=REAL) for name, n in sizes.items()}


def arrays_with_axes(pool: Pool, generator: str, **axes: tuple[str, ...]) -> list[np.ndarray]:
    """Return the columns named in `axes`. If a column has other axes, raises UserError with the names of generator and column."""
    arrays = [pool.array(name) for name in axes]
    for array, (name, expected) in zip(arrays, axes.items(), strict=True):
        if array.ndim != len(expected):
            raise UserError(
                f"generator '{generator}': column '{name}' must have the axes ({', '.join(expected)}), but it has the shape {array.shape}; "
                "use a data set for this generator"
            )
    return arrays


@dataclass(frozen=True)
class GaussianData:
    """Standard normal numbers or vectors. Column `x`: float64 [n, replicates], or [n, replicates, dimensions] for `dimensions` > 1."""

    rows: Annotated[int, Field(ge=2)] = 1_000
    """Rows of the training split. They form the first training pool and the reserve (unseen real rows)."""
    replicates: Count = 1
    """Number of independent chains, which are simulated together."""
    dimensions: Count = 1
    seed: int = 0
    version: ClassVar[int] = 2
    modality: ClassVar[str] = "analytic"

    def load(self, *, eval_size: int) -> Mapping[str, Pool]:
        shape = (self.replicates,) if self.dimensions == 1 else (self.replicates, self.dimensions)
        return draw_splits(
            self.rows,
            eval_size,
            stream(self.seed, "gaussian"),
            lambda n, rng: {"x": rng.standard_normal((n, *shape))},
            numbers=math.prod(shape),
        )


@dataclass(frozen=True)
class CategoricalData:
    """Symbols with Zipf frequencies. Column `x`: int64 [n, replicates]; P(symbol k) is proportional to (k + 1)^-exponent."""

    rows: Annotated[int, Field(ge=2)] = 1_000
    replicates: Count = 1
    symbols: Annotated[int, Field(ge=2)] = 1_000
    exponent: Annotated[float, Field(ge=0)] = 1.0
    seed: int = 0
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "analytic"

    def load(self, *, eval_size: int) -> Mapping[str, Pool]:
        check_memory(8 * self.replicates * self.symbols, what=f"data: a table of {self.replicates:,} replicates x {self.symbols:,} symbols")
        cumulative = np.cumsum(zipf(self.symbols, self.exponent))

        def draw(n: int, rng: np.random.Generator) -> Mapping[str, np.ndarray]:
            symbols = np.searchsorted(cumulative, rng.random((n, self.replicates)), side="right")
            return {"x": np.minimum(symbols, self.symbols - 1)}  # rounding can make the last cumulative value less than 1

        return draw_splits(self.rows, eval_size, stream(self.seed, "categorical"), draw, numbers=self.replicates)


def zipf(symbols: int, exponent: float) -> np.ndarray:
    """Return probabilities proportional to rank^-exponent, float64 [symbols]."""
    weights = np.arange(1, symbols + 1) ** -float(exponent)
    return weights / weights.sum()


@dataclass(frozen=True)
class RegressionData:
    """Linear regression data. Columns: `x` float64 [n, replicates, dimensions], standard normal; `y` = x . e_1 + noise [n, replicates].

    Least squares is invariant under rotation, so e_1 represents all true weights of norm 1. With probability `shifted`, a label is drawn
    with other weights, which differ by `shift`: x . (e_1 + shift e_2) + noise (Dohmatob et al. 2024, "Strong model collapse").
    """

    rows: Annotated[int, Field(ge=2)] = 1_000
    replicates: Count = 1
    dimensions: Annotated[int, Field(ge=2)] = 5
    noise: Annotated[float, Field(ge=0)] = 1.0
    """Standard deviation of the label noise."""
    shifted: Annotated[float, Field(ge=0, le=1)] = 0.0
    shift: Annotated[float, Field(ge=0)] = 0.0
    seed: int = 0
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "analytic"

    def load(self, *, eval_size: int) -> Mapping[str, Pool]:
        def draw(n: int, rng: np.random.Generator) -> Mapping[str, np.ndarray]:
            x = rng.standard_normal((n, self.replicates, self.dimensions))
            y = x[..., 0] + self.noise * rng.standard_normal((n, self.replicates))
            return {"x": x, "y": y + self.shift * x[..., 1] * (rng.random((n, self.replicates)) < self.shifted)}

        return draw_splits(self.rows, eval_size, stream(self.seed, "regression"), draw, numbers=self.replicates * (self.dimensions + 1))


@dataclass(frozen=True)
class HalfspaceData:
    """Linearly separable points. Columns: `x` float64 [n, dimensions], standard normal; `y` int64 [n], the sign of x_1 (+1 or -1)."""

    rows: Annotated[int, Field(ge=2)] = 1_000
    dimensions: Annotated[int, Field(ge=2)] = 10
    seed: int = 0
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "analytic"

    def load(self, *, eval_size: int) -> Mapping[str, Pool]:
        def draw(n: int, rng: np.random.Generator) -> Mapping[str, np.ndarray]:
            x = rng.standard_normal((n, self.dimensions))
            return {"x": x, "y": true_labels(x)}

        return draw_splits(self.rows, eval_size, stream(self.seed, "halfspace"), draw, numbers=self.dimensions + 1)


def true_labels(x: np.ndarray) -> np.ndarray:
    """Return the true labels of points `x`, float64 [n, dimensions]. Labels are int64 [n]: +1 if x_1 >= 0, otherwise -1."""
    return np.where(x[:, 0] >= 0, 1, -1)
