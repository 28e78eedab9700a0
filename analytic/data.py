"""Data of the analytic track: known distributions, drawn for many independent worlds.

Every world is a chain of its own: column `x` of a pool holds a value of every world in every row, and worlds share only the row
choices of a policy. Thousands cost little more than one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from ..common.core.errors import UserError
from ..common.core.pool import REAL, Pool
from ..common.core.random_streams import stream
from ..common.core.resources import check_memory

Count = Annotated[int, Field(ge=1)]


def drawn(rows: int, eval_size: int, rng: np.random.Generator, draw, *, numbers: int) -> Mapping[str, Pool]:
    """The splits of a data set, each of independent rows: `draw(n, rng)` gives the columns of n rows, `numbers` of 8 bytes in each.

    UserError if that is more than fits into memory.
    """
    sizes = {"train": rows, "heldout": eval_size, "control": eval_size}
    check_memory(8 * numbers * sum(sizes.values()), what=f"data: {sum(sizes.values()):,} rows of {numbers:,} numbers each")
    return {name: Pool.of(**draw(n, rng)).note(generation=REAL) for name, n in sizes.items()}


def shaped(pool: Pool, generator: str, **axes: tuple[str, ...]) -> list[np.ndarray]:
    """The named columns, of which each has these axes; UserError naming generator and column where one has others."""
    found = [pool.array(name) for name in axes]
    for x, (name, wanted) in zip(found, axes.items(), strict=True):
        if x.ndim != len(wanted):
            raise UserError(
                f"generator '{generator}': '{name}' is to have the axes {', '.join(wanted)}; this data's have the sizes {x.shape}"
            )
    return found


@dataclass(frozen=True)
class GaussianData:
    """Standard normal numbers or vectors in many worlds: `x` float64 [n, worlds], or [n, worlds, dimensions] if there are several."""

    rows: Annotated[int, Field(ge=2)] = 1_000
    """Rows of the training split (real rows and reserve)."""
    worlds: Count = 1
    dimensions: Count = 1
    seed: int = 0
    version: ClassVar[int] = 2
    modality: ClassVar[str] = "analytic"

    def load(self, *, eval_size: int) -> Mapping[str, Pool]:
        shape = (self.worlds,) if self.dimensions == 1 else (self.worlds, self.dimensions)
        return drawn(
            self.rows,
            eval_size,
            stream(self.seed, "gaussian"),
            lambda n, rng: {"x": rng.standard_normal((n, *shape))},
            numbers=math.prod(shape),
        )


@dataclass(frozen=True)
class CategoricalData:
    """Symbols with Zipf's frequencies in many worlds: `x` int64 [n, worlds], symbol k as likely as (k + 1)^-exponent."""

    rows: Annotated[int, Field(ge=2)] = 1_000
    worlds: Count = 1
    symbols: Annotated[int, Field(ge=2)] = 1_000
    exponent: Annotated[float, Field(ge=0)] = 1.0
    seed: int = 0
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "analytic"

    def load(self, *, eval_size: int) -> Mapping[str, Pool]:
        check_memory(8 * self.worlds * self.symbols, what=f"data: a table of {self.worlds:,} worlds x {self.symbols:,} symbols")
        reached = np.cumsum(zipf(self.symbols, self.exponent))

        def draw(n: int, rng: np.random.Generator) -> Mapping[str, np.ndarray]:
            found = np.searchsorted(reached, rng.random((n, self.worlds)), side="right")
            return {"x": np.minimum(found, self.symbols - 1)}  # the sum of all may be a rounding error below 1

        return drawn(self.rows, eval_size, stream(self.seed, "categorical"), draw, numbers=self.worlds)


def zipf(symbols: int, exponent: float) -> np.ndarray:
    """Probabilities proportional to rank^-exponent, float64 [symbols]."""
    weights = np.arange(1, symbols + 1) ** -float(exponent)
    return weights / weights.sum()


@dataclass(frozen=True)
class RegressionData:
    """Points of a noisy plane in many worlds: `x` float64 [n, worlds, dimensions] standard normal, `y` = x . e_1 + noise [n, worlds].

    Least squares is invariant under rotation, so e_1 stands for any true weights. A share `shifted` of the labels, each with that
    chance, comes from other weights at the distance `shift`: x . (e_1 + shift e_2) (Dohmatob et al. 2024, "Strong model collapse").
    """

    rows: Annotated[int, Field(ge=2)] = 1_000
    worlds: Count = 1
    dimensions: Annotated[int, Field(ge=2)] = 5
    noise: Annotated[float, Field(ge=0)] = 1.0
    shifted: Annotated[float, Field(ge=0, le=1)] = 0.0
    shift: Annotated[float, Field(ge=0)] = 0.0
    seed: int = 0
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "analytic"

    def load(self, *, eval_size: int) -> Mapping[str, Pool]:
        def draw(n: int, rng: np.random.Generator) -> Mapping[str, np.ndarray]:
            x = rng.standard_normal((n, self.worlds, self.dimensions))
            y = x[..., 0] + self.noise * rng.standard_normal((n, self.worlds))
            return {"x": x, "y": y + self.shift * x[..., 1] * (rng.random((n, self.worlds)) < self.shifted)}

        return drawn(self.rows, eval_size, stream(self.seed, "regression"), draw, numbers=self.worlds * (self.dimensions + 1))


@dataclass(frozen=True)
class HalfspaceData:
    """Labelled points: `x` float64 [n, dimensions] standard normal, `y` int64 [n] the sign of x_1, +1 or -1. One world."""

    rows: Annotated[int, Field(ge=2)] = 1_000
    dimensions: Annotated[int, Field(ge=2)] = 10
    seed: int = 0
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "analytic"

    def load(self, *, eval_size: int) -> Mapping[str, Pool]:
        def draw(n: int, rng: np.random.Generator) -> Mapping[str, np.ndarray]:
            x = rng.standard_normal((n, self.dimensions))
            return {"x": x, "y": true_labels(x)}

        return drawn(self.rows, eval_size, stream(self.seed, "halfspace"), draw, numbers=self.dimensions + 1)


def true_labels(x: np.ndarray) -> np.ndarray:
    """int64 [n], +1 or -1: the side of the plane x_1 = 0 that each point of x float64 [n, dimensions] is on."""
    return np.where(x[:, 0] >= 0, 1, -1)
