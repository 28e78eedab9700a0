"""Policies nobody would publish, for the laws to judge."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from autophagy.common.core.pool import Pool


@dataclass(frozen=True)
class Odd:
    """Random rows, without replacement, of a random number of random pools: it selects nothing by value."""

    seed: int
    version: ClassVar[int] = 1

    def __call__(self, available, *, size, rng):
        odd = np.random.default_rng([self.seed, available.generation])
        pools = [available.real, *available.history]
        chosen = odd.choice(len(pools), size=odd.integers(1, len(pools) + 1), replace=False)
        return Pool.concat([pools[number].choose(int(odd.integers(2, size + 1)), odd) for number in chosen])


@dataclass(frozen=True)
class Middling:
    """Keeps the half of the last generation whose rows are nearest to 0 in the first world and hopes nobody looks."""

    version: ClassVar[int] = 1

    def __call__(self, available, *, size, rng):
        generated = available.history[-1]
        x = generated.array("x")
        middle = np.sort(x, axis=0)[size // 4 : -(size // 4)]  # world by world
        return generated.slice(0, len(middle)).with_data(Pool.of(x=middle))


@dataclass(frozen=True)
class Leaky:
    """Says it trains on the last generation alone, and lets two real rows in."""

    version: ClassVar[int] = 1

    def __call__(self, available, *, size, rng):
        return Pool.concat([available.real.slice(0, 2), available.history[-1].choose(size - 2, rng)])

    def expected_counts(self, *, size, generation):
        return {generation - 1: size}


@dataclass(frozen=True)
class Unnoted:
    """Makes its rows itself."""

    version: ClassVar[int] = 1

    def __call__(self, available, *, size, rng):
        return Pool.of(x=np.zeros((size, 2)))
