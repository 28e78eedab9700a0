"""Policies that violate a rule of the contract, and a valid random policy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from autophagy.common.core.pool import Pool


@dataclass(frozen=True)
class RandomPools:
    """Takes random rows, without replacement, from randomly chosen pools. Rows are never selected by value, so the tested laws hold."""

    seed: int
    version: ClassVar[int] = 1

    def __call__(self, available, *, size, rng):
        own_rng = np.random.default_rng([self.seed, available.generation])
        pools = [available.real, *available.history]
        chosen = own_rng.choice(len(pools), size=own_rng.integers(1, len(pools) + 1), replace=False)
        return Pool.concat([pools[number].choose(int(own_rng.integers(2, size + 1)), own_rng) for number in chosen])


@dataclass(frozen=True)
class SelectsMiddle:
    """Keeps the half of the last generation that is nearest to the median. Rows are selected by value, so the tested laws do not hold."""

    version: ClassVar[int] = 1

    def __call__(self, available, *, size, rng):
        generated = available.history[-1]
        x = generated.array("x")
        middle = np.sort(x, axis=0)[size // 4 : -(size // 4)]  # each world separately
        return generated.slice(0, len(middle)).with_data(Pool.of(x=middle))


@dataclass(frozen=True)
class LeaksReal:
    """Declares that it trains on the last generation only, and adds two real rows."""

    version: ClassVar[int] = 1

    def __call__(self, available, *, size, rng):
        return Pool.concat([available.real.slice(0, 2), available.history[-1].choose(size - 2, rng)])

    def expected_counts(self, *, size, generation):
        return {generation - 1: size}


@dataclass(frozen=True)
class InventsRows:
    """Returns new rows instead of rows of the available pools, so the provenance columns are missing."""

    version: ClassVar[int] = 1

    def __call__(self, available, *, size, rng):
        return Pool.of(x=np.zeros((size, 2)))
