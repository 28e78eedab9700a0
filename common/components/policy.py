"""The contract of a policy: it picks the rows that the next generation trains on.

The functions of this module read the optional members of a policy, with a default for policies that lack them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from ..core.pool import Pool

ANY = -2
"""A key of `expected_counts`: rows from all pools together, where a policy does not fix how many come from each."""


@dataclass(frozen=True)
class AvailableData:
    """The pools that a policy can pick rows from. Policies act from generation 1; generation 0 always trains on `real`."""

    real: Pool
    """The real training pool: `size` rows, the same in every generation."""
    reserve: Pool
    """Real rows that no generation has trained on, in random order."""
    history: Sequence[Pool]
    """The collected pools, oldest first. `history[g]` comes from the model of generation g."""
    generation: int
    """The generation that is about to be trained, >= 1."""


class Policy(Protocol):
    """Picks the training pool of a generation. A dataclass whose fields are its settings.

    The loop calls a policy like this:

        for generation in range(1, generations + 1):
            train = policy(AvailableData(real, reserve, history, generation), size=size, rng=stream(seed, "policy", generation))

    It is a pure function: the same arguments give the same pool. It must take rows from the pools it gets, with their notes.
    Optional members are described by the Protocols `UsesReserve`, `SetsSampleSize`, `DeclaresCounts`, `HasControls` and
    `DeclaresSynthetic`.
    """

    version: ClassVar[int]
    """Part of every cache key. Increase it when a change of the code changes the pools."""

    def __call__(self, available: AvailableData, *, size: int, rng: np.random.Generator) -> Pool:
        """The training pool. `size`: the number of rows per generation in the experiment."""
        ...


@runtime_checkable
class UsesReserve(Protocol):
    """Optional: a policy that takes rows from the reserve."""

    def reserve_rows(self, *, size: int, generations: int) -> int:
        """The number of reserve rows that it has used after `generations` generations."""
        ...


@runtime_checkable
class SetsSampleSize(Protocol):
    """Optional: a policy that needs more than `size` generated rows."""

    def rows_to_generate(self, *, size: int, generation: int) -> int:
        """The number of rows that the model of a generation must generate."""
        ...


@runtime_checkable
class DeclaresCounts(Protocol):
    """Optional: a policy that declares its mixture. The audit stops the run if the fit used a different one."""

    def expected_counts(self, *, size: int, generation: int) -> Mapping[int, int]:
        """Training rows by the generation of the pool they are taken from (`REAL`: real rows, `ANY`: all pools together)."""
        ...


@runtime_checkable
class HasControls(Protocol):
    """Optional: a policy that names the policies to compare it with. `controls: auto` adds them to an experiment."""

    controls: Sequence[object]
    """Policies, each written as in a config."""


@runtime_checkable
class DeclaresSynthetic(Protocol):
    """Optional: False for a policy that only ever trains on real rows."""

    uses_synthetic: bool


def reserve_rows(policy: Policy, *, size: int, generations: int) -> int:
    """The number of reserve rows that a policy has used after `generations` generations. Default: 0."""
    return policy.reserve_rows(size=size, generations=generations) if isinstance(policy, UsesReserve) else 0


def rows_to_generate(policy: Policy, *, size: int, generation: int) -> int:
    """The number of rows that the model of a generation must generate for a policy. Default: `size`."""
    return policy.rows_to_generate(size=size, generation=generation) if isinstance(policy, SetsSampleSize) else size


def expected_counts(policy: Policy, *, size: int, generation: int) -> Mapping[int, int] | None:
    """The mixture that a policy declares for a generation. None if it declares nothing."""
    return policy.expected_counts(size=size, generation=generation) if isinstance(policy, DeclaresCounts) else None


def controls_of(policy: Policy) -> Sequence[object]:
    """The policies to compare a policy with, as a config would write them. Default: none."""
    return policy.controls if isinstance(policy, HasControls) else ()


def uses_synthetic(policy: Policy) -> bool:
    """True if a policy ever trains on generated rows. This is the default."""
    return policy.uses_synthetic if isinstance(policy, DeclaresSynthetic) else True
