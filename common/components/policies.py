"""Policies: what the next generation trains on. Pure functions of the pools, the same for every modality."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Protocol

import numpy as np
from pydantic import Field

from ..core.pool import REAL, Pool

ANY = -2
"""In what a policy says it takes: rows of whichever pool."""


@dataclass(frozen=True)
class AvailableData:
    """What a policy may draw from at generation >= 1 (generation 0 always trains on `real`)."""

    real: Pool
    """The fixed real training pool: `size` rows."""
    reserve: Pool
    """Real rows no generation has seen, in random order."""
    history: Sequence[Pool]
    """The pools made so far, oldest first: history[g] was made by generation g."""
    generation: int


class Policy(Protocol):
    """Picks a training pool: same arguments, same pool. A dataclass whose fields are its settings.

    What it may also have, each read before anything runs:

    - `reserve_rows(size=, generations=)`: unseen real rows it will have used after so many generations (else none);
    - `made_rows(size=, generation=)`: rows the model of a generation has to make for it (else `size`);
    - `asked(size=, generation=)`: rows it takes from the pool of each generation (REAL: real rows; ANY: any pool). The
      audit counts what it really took and stops the run if that differs: double entry;
    - `controls`: the policies to compare it with, as a config would name them; `controls: auto` adds them;
    - `trains_on_made`: False if nothing that was made is ever trained on.
    """

    version: ClassVar[int]

    def __call__(self, available: AvailableData, *, size: int, rng: np.random.Generator) -> Pool: ...


def reserve_rows(policy: Policy, *, size: int, generations: int) -> int:
    """How many unseen real rows a policy will have used after the last generation."""
    return policy.reserve_rows(size=size, generations=generations) if hasattr(policy, "reserve_rows") else 0


def rows_to_generate(policy: Policy, *, size: int, generation: int) -> int:
    """How many rows the model of a generation has to make for a policy."""
    return policy.rows_to_generate(size=size, generation=generation) if hasattr(policy, "rows_to_generate") else size


def growing_pool_size(size: int, generation: int, *, most: int | None, growth: float) -> int:
    """Rows of a growing pool: `size` times a power of how many pools there are, the real one counting as the first; at most `most`."""
    return round(size * min(generation + 1, most or generation + 1) ** growth)


# ---- made data alone ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Replace:
    """Only what the last generation made (Shumailov et al. 2024; the fully synthetic loop of Alemohammad et al. 2024)."""

    version: ClassVar[int] = 1
    controls: ClassVar[tuple[str, ...]] = ("real",)

    def __call__(self, available: AvailableData, *, size: int, rng: np.random.Generator) -> Pool:
        return available.history[-1].choose(size, rng)

    def expected_counts(self, *, size: int, generation: int) -> Mapping[int, int]:
        return {generation - 1: size}


@dataclass(frozen=True)
class ReplaceGrowing:
    """Only what the last generation made, but as many rows as `accumulate` has (its matched-size control, Gerstgrasser et al. 2024).

    With `generations`, as many as `window` has. `growth` is another power of the number of pools: 2 for `size` rows times 4, 9, 16, ...
    """

    generations: Annotated[int, Field(ge=1)] | None = None
    growth: Annotated[float, Field(ge=0, le=10)] = 1.0
    version: ClassVar[int] = 1

    @property
    def controls(self) -> tuple[Mapping[str, object], ...]:
        return ({"use": "real-growing", "generations": self.generations, "growth": self.growth},)

    def __call__(self, available: AvailableData, *, size: int, rng: np.random.Generator) -> Pool:
        return available.history[-1].choose(self.rows(size=size, generation=available.generation), rng)

    def rows(self, *, size: int, generation: int) -> int:
        """Rows a generation >= 1 trains on."""
        return growing_pool_size(size, generation, most=self.generations, growth=self.growth)

    def rows_to_generate(self, *, size: int, generation: int) -> int:
        return self.rows(size=size, generation=generation + 1)

    def expected_counts(self, *, size: int, generation: int) -> Mapping[int, int]:
        return {generation - 1: self.rows(size=size, generation=generation)}


# ---- made data beside what was there before ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Accumulate:
    """The real pool and everything made so far; it grows by `size` rows a generation (Gerstgrasser et al. 2024)."""

    version: ClassVar[int] = 1
    controls: ClassVar[tuple[str, ...]] = ("replace-growing", "real-growing")

    def __call__(self, available: AvailableData, *, size: int, rng: np.random.Generator) -> Pool:
        return Pool.concat([available.real, *available.history])

    def expected_counts(self, *, size: int, generation: int) -> Mapping[int, int]:
        return dict.fromkeys([REAL, *range(generation)], size)


@dataclass(frozen=True)
class AccumulateSubsample:
    """`size` rows drawn without replacement from all that `accumulate` would train on (Kazdan et al. 2024)."""

    version: ClassVar[int] = 1
    controls: ClassVar[tuple[str, ...]] = ("replace", "real")

    def __call__(self, available: AvailableData, *, size: int, rng: np.random.Generator) -> Pool:
        return Pool.concat([available.real, *available.history]).choose(size, rng)

    def expected_counts(self, *, size: int, generation: int) -> Mapping[int, int]:
        return {ANY: size}


@dataclass(frozen=True)
class Window:
    """The last `generations` pools, the real pool counting as the first of all (accumulation that forgets)."""

    generations: Annotated[int, Field(ge=1)]
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
    """A share of real rows, the rest from the last generation, `size` rows in all.

    `real: fixed` draws the same real rows every generation (the synthetic augmentation loop of Alemohammad et al. 2024;
    Bertrand et al. 2024); `real: fresh` takes rows that no generation has seen (their fresh data loop).
    `real_fraction` is a number, a list (generations 1, 2, ...; the last one stays) or `1/t^gamma` of the generation t.
    The number of real rows is `real_fraction * size`, rounded to the nearest row.
    """

    real_fraction: float | list[float] | str
    real: Literal["fixed", "fresh"] = "fixed"
    version: ClassVar[int] = 1
    controls: ClassVar[tuple[str, ...]] = ("replace", "real")

    def __post_init__(self) -> None:
        if isinstance(self.real_fraction, str):
            if not re.fullmatch(r"1/t(\^\d+(\.\d+)?)?", self.real_fraction):
                raise ValueError(f"real_fraction: a number, a list of numbers or 1/t^gamma, not '{self.real_fraction}'")
            return
        shares = self.real_fraction if isinstance(self.real_fraction, list) else [self.real_fraction]
        if not shares or any(not 0 <= share <= 1 for share in shares):
            raise ValueError(f"real_fraction: shares lie between 0 and 1, not {self.real_fraction}")

    def __call__(self, available: AvailableData, *, size: int, rng: np.random.Generator) -> Pool:
        n_real = self.real_rows(size=size, generation=available.generation)
        if self.real == "fresh":
            first = self.reserve_rows(size=size, generations=available.generation - 1)
            real = available.reserve.slice(first, first + n_real)
        else:
            real = available.real.slice(0, n_real)
        return Pool.concat([real, available.history[-1].choose(size - n_real, rng)])

    def real_rows(self, *, size: int, generation: int) -> int:
        """Real rows at a generation >= 1."""
        if isinstance(self.real_fraction, str):
            share = float(generation) ** -float(self.real_fraction.partition("^")[2] or 1)
        elif isinstance(self.real_fraction, list):
            share = self.real_fraction[min(generation, len(self.real_fraction)) - 1]
        else:
            share = self.real_fraction
        return round(share * size)

    def reserve_rows(self, *, size: int, generations: int) -> int:
        if self.real == "fixed":
            return 0
        return sum(self.real_rows(size=size, generation=generation) for generation in range(1, generations + 1))

    def expected_counts(self, *, size: int, generation: int) -> Mapping[int, int]:
        n_real = self.real_rows(size=size, generation=generation)
        return {REAL: n_real, generation - 1: size - n_real}


@dataclass(frozen=True)
class Augment:
    """The real pool beside what the last generation made, `size` rows each (the synthetic augmentation loop of Alemohammad et al. 2024).

    `real: fresh` takes `size` unseen real rows every generation instead. Every row is there `real_weight` or `synthetic_weight` times:
    the share of the real ones in what a fit minimises is real_weight / (real_weight + synthetic_weight) (He, Xu & Cheng 2025).
    """

    real: Literal["fixed", "fresh"] = "fixed"
    real_weight: Annotated[int, Field(ge=1, le=1000)] = 1
    synthetic_weight: Annotated[int, Field(ge=1, le=1000)] = 1
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


# ---- real data alone: the controls ------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Real:
    """The same real pool every generation, with a new seed: what retraining alone does."""

    version: ClassVar[int] = 1
    uses_synthetic: ClassVar[bool] = False

    def __call__(self, available: AvailableData, *, size: int, rng: np.random.Generator) -> Pool:
        return available.real

    def expected_counts(self, *, size: int, generation: int) -> Mapping[int, int]:
        return {REAL: size}


@dataclass(frozen=True)
class RealFresh:
    """`size` unseen real rows every generation: what `replace` would be if models made real data."""

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
    """The real pool and `size` more unseen real rows every generation: what `accumulate` would be if models made real data.

    With `generations`, the last so many of these pools: what `window` would be. `growth` as for `replace-growing`.
    """

    generations: Annotated[int, Field(ge=1)] | None = None
    growth: Annotated[float, Field(ge=0, le=10)] = 1.0
    version: ClassVar[int] = 1
    uses_synthetic: ClassVar[bool] = False

    def __call__(self, available: AvailableData, *, size: int, rng: np.random.Generator) -> Pool:
        seen = Pool.concat([available.real, available.reserve.slice(0, self.reserve_rows(size=size, generations=available.generation))])
        return seen.slice(len(seen) - self.rows(size=size, generation=available.generation), len(seen))

    def rows(self, *, size: int, generation: int) -> int:
        """Rows a generation >= 1 trains on."""
        return growing_pool_size(size, generation, most=self.generations, growth=self.growth)

    def reserve_rows(self, *, size: int, generations: int) -> int:
        return growing_pool_size(size, generations, most=None, growth=self.growth) - size

    def expected_counts(self, *, size: int, generation: int) -> Mapping[int, int]:
        return {REAL: self.rows(size=size, generation=generation)}
