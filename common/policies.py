"""Policies: what the next generation trains on. Pure functions of the pools, the same for every modality."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Protocol

import numpy as np
from pydantic import Field

from .pool import Pool


@dataclass(frozen=True)
class Sources:
    """What a policy may draw from at generation >= 1 (generation 0 always trains on `real`)."""

    real: Pool
    """The fixed real training pool: `size` rows."""
    reserve: Pool
    """Real rows no generation has seen, in random order."""
    history: Sequence[Pool]
    """The pools made so far, oldest first: history[g] was made by generation g."""
    generation: int


class Policy(Protocol):
    """Picks a training pool: same arguments, same pool. A dataclass whose fields are its settings."""

    version: ClassVar[int]

    def __call__(self, sources: Sources, *, size: int, rng: np.random.Generator) -> Pool: ...

    def reserve_rows(self, *, size: int, generations: int) -> int:
        """How many unseen real rows it will have used after the last generation; checked before anything runs."""
        ...


@dataclass(frozen=True)
class Replace:
    """Only what the last generation made (Shumailov et al. 2024; the fully synthetic loop of Alemohammad et al. 2024)."""

    version: ClassVar[int] = 1

    def __call__(self, sources: Sources, *, size: int, rng: np.random.Generator) -> Pool:
        return sources.history[-1].choose(size, rng)

    def reserve_rows(self, *, size: int, generations: int) -> int:
        return 0


@dataclass(frozen=True)
class Accumulate:
    """The real pool and everything made so far; it grows by `size` rows a generation (Gerstgrasser et al. 2024)."""

    version: ClassVar[int] = 1

    def __call__(self, sources: Sources, *, size: int, rng: np.random.Generator) -> Pool:
        return Pool.concat([sources.real, *sources.history])

    def reserve_rows(self, *, size: int, generations: int) -> int:
        return 0


@dataclass(frozen=True)
class Mix:
    """A share of real rows, the rest from the last generation, `size` rows in all.

    `real: fixed` draws the same real rows every generation (the synthetic augmentation loop of Alemohammad et al. 2024;
    Bertrand et al. 2024); `real: fresh` takes rows that no generation has seen (their fresh data loop).
    The number of real rows is `real_fraction * size`, rounded to the nearest row.
    """

    real_fraction: Annotated[float, Field(ge=0, le=1)]
    real: Literal["fixed", "fresh"] = "fixed"
    version: ClassVar[int] = 1

    def __call__(self, sources: Sources, *, size: int, rng: np.random.Generator) -> Pool:
        n_real = self._real_rows(size)
        if self.real == "fresh":
            first = (sources.generation - 1) * n_real
            real = sources.reserve.slice(first, first + n_real)
        else:
            real = sources.real.slice(0, n_real)
        return Pool.concat([real, sources.history[-1].choose(size - n_real, rng)])

    def reserve_rows(self, *, size: int, generations: int) -> int:
        return self._real_rows(size) * generations if self.real == "fresh" else 0

    def _real_rows(self, size: int) -> int:
        return round(self.real_fraction * size)


@dataclass(frozen=True)
class Real:
    """The control: the same real pool every generation, with a new seed (what retraining alone does)."""

    version: ClassVar[int] = 1

    def __call__(self, sources: Sources, *, size: int, rng: np.random.Generator) -> Pool:
        return sources.real

    def reserve_rows(self, *, size: int, generations: int) -> int:
        return 0
