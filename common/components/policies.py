"""The built-in policies. They are pure functions of the pools and work for every modality. `policy.py` defines the contract."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from ..core.pool import REAL, Pool
from .policy import ANY, AvailableData

GrowthExponent = Annotated[float, Field(ge=0, le=10)]
PoolCount = Annotated[int, Field(ge=1)]
Weight = Annotated[int, Field(ge=1, le=1000)]


def growing_pool_size(size: int, generation: int, *, max_pools: int | None, growth: float) -> int:
    """Compute the number of rows of a growing training pool: `size * pools ** growth`.

    `pools` is the number of available pools: the real pool and one pool of each earlier generation, at most `max_pools`.
    """
    pools = min(generation + 1, max_pools or generation + 1)
    return round(size * float(pools**growth))


# ---- generated rows only ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Replace:
    """Trains on the output of the last generation only (Shumailov et al. 2024; the fully synthetic loop of Alemohammad et al. 2024)."""

    version: ClassVar[int] = 1
    controls: ClassVar[tuple[str, ...]] = ("real",)

    def __call__(self, available: AvailableData, *, size: int, rng: np.random.Generator) -> Pool:
        return available.history[-1].choose(size, rng)

    def expected_counts(self, *, size: int, generation: int) -> Mapping[int, int]:
        return {generation - 1: size}


@dataclass(frozen=True)
class ReplaceGrowing:
    """Trains on the output of the last generation only, with the same number of rows as `accumulate`.

    This is the matched-size control of `accumulate` (Gerstgrasser et al. 2024) or, with `generations`, of `window`. The pool
    has `size * pools ** growth` rows, where `pools` is the number of pools of `accumulate` or `window`. For example,
    `growth: 2` gives 4, 9, 16, ... times `size`.
    """

    generations: PoolCount | None = None
    growth: GrowthExponent = 1.0
    version: ClassVar[int] = 1

    @property
    def controls(self) -> tuple[Mapping[str, object], ...]:
        return ({"use": "real-growing", "generations": self.generations, "growth": self.growth},)

    def __call__(self, available: AvailableData, *, size: int, rng: np.random.Generator) -> Pool:
        return available.history[-1].choose(self.rows(size=size, generation=available.generation), rng)

    def rows(self, *, size: int, generation: int) -> int:
        """Return the number of training rows of a generation >= 1."""
        return growing_pool_size(size, generation, max_pools=self.generations, growth=self.growth)

    def rows_to_generate(self, *, size: int, generation: int) -> int:
        return self.rows(size=size, generation=generation + 1)

    def expected_counts(self, *, size: int, generation: int) -> Mapping[int, int]:
        return {generation - 1: self.rows(size=size, generation=generation)}


# ---- generated rows together with earlier ones -------------------------------------------------------------------------


@dataclass(frozen=True)
class Accumulate:
    """Trains on the real pool and the output of all generations (Gerstgrasser et al. 2024). Grows by `size` rows per generation."""

    version: ClassVar[int] = 1
    controls: ClassVar[tuple[str, ...]] = ("replace-growing", "real-growing")

    def __call__(self, available: AvailableData, *, size: int, rng: np.random.Generator) -> Pool:
        return Pool.concat([available.real, *available.history])

    def expected_counts(self, *, size: int, generation: int) -> Mapping[int, int]:
        return dict.fromkeys([REAL, *range(generation)], size)


@dataclass(frozen=True)
class AccumulateSubsample:
    """Trains on `size` rows drawn without replacement from the pool of `accumulate` (Kazdan et al. 2024)."""

    version: ClassVar[int] = 1
    controls: ClassVar[tuple[str, ...]] = ("replace", "real")

    def __call__(self, available: AvailableData, *, size: int, rng: np.random.Generator) -> Pool:
        return Pool.concat([available.real, *available.history]).choose(size, rng)

    def expected_counts(self, *, size: int, generation: int) -> Mapping[int, int]:
        return {ANY: size}


@dataclass(frozen=True)
class Window:
    """Trains on the last `generations` pools. Equivalent to `accumulate` with a limited memory. The real pool is the oldest pool."""

    generations: PoolCount
    version: ClassVar[int] = 1

    @property
    def controls(self) -> tuple[Mapping[str, object], ...]:
        return tuple({"use": use, "generations": self.generations} for use in ("replace-growing", "real-growing"))

    def __call__(self, available: AvailableData, *, size: int, rng: np.random.Generator) -> Pool:
        return Pool.concat([available.real, *available.history][-self.generations :])

    def expected_counts(self, *, size: int, generation: int) -> Mapping[int, int]:
        return dict.fromkeys([REAL, *range(generation)][-self.generations :], size)


@dataclass(frozen=True)
class Mix:
    """Trains on `size` rows: a fraction `real_fraction` of real rows and otherwise rows from the last generation.

    `real: fixed` uses the same real rows in every generation (synthetic augmentation loop of Alemohammad et al. 2024;
    Bertrand et al. 2024). `real: fresh` uses rows that no generation has trained on (fresh data loop of Alemohammad et al.).
    `real_fraction` is a number, a list with the values for generations 1, 2, ... (the last value is used for all later
    generations), or `1/t^gamma`, where t is the generation. The number of real rows is `real_fraction * size`, rounded.
    """

    real_fraction: float | list[float] | str
    real: Literal["fixed", "fresh"] = "fixed"
    version: ClassVar[int] = 1
    controls: ClassVar[tuple[str, ...]] = ("replace", "real")

    def __post_init__(self) -> None:
        if isinstance(self.real_fraction, str):
            if not re.fullmatch(r"1/t(\^\d+(\.\d+)?)?", self.real_fraction):
                raise ValueError(f"real_fraction: must be a number, a list of numbers or 1/t^gamma, not '{self.real_fraction}'")
            return
        fractions = self.real_fraction if isinstance(self.real_fraction, list) else [self.real_fraction]
        if not fractions or any(not 0 <= fraction <= 1 for fraction in fractions):
            raise ValueError(f"real_fraction: must be one or more numbers between 0 and 1, not {self.real_fraction}")

    def __call__(self, available: AvailableData, *, size: int, rng: np.random.Generator) -> Pool:
        n_real = self.real_rows(size=size, generation=available.generation)
        if self.real == "fresh":
            first = self.reserve_rows(size=size, generations=available.generation - 1)
            real = available.reserve.slice(first, first + n_real)
        else:
            real = available.real.slice(0, n_real)
        return Pool.concat([real, available.history[-1].choose(size - n_real, rng)])

    def real_rows(self, *, size: int, generation: int) -> int:
        """Return the number of real rows in a generation >= 1."""
        if isinstance(self.real_fraction, str):
            fraction: float = float(generation) ** -float(self.real_fraction.partition("^")[2] or 1)
        elif isinstance(self.real_fraction, list):
            fraction = self.real_fraction[min(generation, len(self.real_fraction)) - 1]
        else:
            fraction = self.real_fraction
        return round(fraction * size)

    def reserve_rows(self, *, size: int, generations: int) -> int:
        if self.real == "fixed":
            return 0
        return sum(self.real_rows(size=size, generation=generation) for generation in range(1, generations + 1))

    def expected_counts(self, *, size: int, generation: int) -> Mapping[int, int]:
        n_real = self.real_rows(size=size, generation=generation)
        return {REAL: n_real, generation - 1: size - n_real}


@dataclass(frozen=True)
class Augment:
    """Trains on `size` real rows and `size` rows from the last generation (the synthetic augmentation loop of Alemohammad et al. 2024).

    `real: fixed` uses the real pool. `real: fresh` uses `size` unseen real rows per generation. Real rows are repeated
    `real_weight` times and generated rows `synthetic_weight` times. So real rows have the weight
    real_weight / (real_weight + synthetic_weight) in the training objective (He, Xu & Cheng 2025).
    """

    real: Literal["fixed", "fresh"] = "fixed"
    real_weight: Weight = 1
    synthetic_weight: Weight = 1
    version: ClassVar[int] = 1
    controls: ClassVar[tuple[str, ...]] = ("replace", "real")

    def __call__(self, available: AvailableData, *, size: int, rng: np.random.Generator) -> Pool:
        if self.real == "fresh":
            real = available.reserve.slice((available.generation - 1) * size, available.generation * size)
        else:
            real = available.real
        return Pool.concat([real] * self.real_weight + [available.history[-1].choose(size, rng)] * self.synthetic_weight)

    def reserve_rows(self, *, size: int, generations: int) -> int:
        return size * generations if self.real == "fresh" else 0

    def expected_counts(self, *, size: int, generation: int) -> Mapping[int, int]:
        return {REAL: size * self.real_weight, generation - 1: size * self.synthetic_weight}


# ---- controls: real rows only ------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Real:
    """Trains on the same real pool in every generation, with a new seed. Shows the effect of retraining alone."""

    version: ClassVar[int] = 1
    uses_synthetic: ClassVar[bool] = False

    def __call__(self, available: AvailableData, *, size: int, rng: np.random.Generator) -> Pool:
        return available.real

    def expected_counts(self, *, size: int, generation: int) -> Mapping[int, int]:
        return {REAL: size}


@dataclass(frozen=True)
class RealFresh:
    """Trains on `size` unseen real rows in every generation.

    Equivalent to `replace` with a generator that samples from the true distribution.
    """

    version: ClassVar[int] = 1
    uses_synthetic: ClassVar[bool] = False

    def __call__(self, available: AvailableData, *, size: int, rng: np.random.Generator) -> Pool:
        return available.reserve.slice((available.generation - 1) * size, available.generation * size)

    def reserve_rows(self, *, size: int, generations: int) -> int:
        return size * generations

    def expected_counts(self, *, size: int, generation: int) -> Mapping[int, int]:
        return {REAL: size}


@dataclass(frozen=True)
class RealGrowing:
    """Trains on the real pool and `size` more unseen real rows per generation.

    Equivalent to `accumulate` or, with `generations`, to `window` with a generator that samples from the true distribution.
    `growth` has the same meaning as in `replace-growing`.
    """

    generations: PoolCount | None = None
    growth: GrowthExponent = 1.0
    version: ClassVar[int] = 1
    uses_synthetic: ClassVar[bool] = False

    def __call__(self, available: AvailableData, *, size: int, rng: np.random.Generator) -> Pool:
        used = self.reserve_rows(size=size, generations=available.generation)
        pool = Pool.concat([available.real, available.reserve.slice(0, used)])
        return pool.slice(len(pool) - self.rows(size=size, generation=available.generation), len(pool))

    def rows(self, *, size: int, generation: int) -> int:
        """Return the number of training rows of a generation >= 1."""
        return growing_pool_size(size, generation, max_pools=self.generations, growth=self.growth)

    def reserve_rows(self, *, size: int, generations: int) -> int:
        return growing_pool_size(size, generations, max_pools=None, growth=self.growth) - size

    def expected_counts(self, *, size: int, generation: int) -> Mapping[int, int]:
        return {REAL: self.rows(size=size, generation=generation)}
