"""The contract of a policy, which picks the training pool of the next generation.

The functions at the end of this module read optional members and return a default for policies without them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np

from ..core.pool import Pool

ANY = -2
"""Key in `expected_counts` for rows from all pools together. For policies that fix the total but not the count of each pool."""


@dataclass(frozen=True)
class AvailableData:
    """The pools from which a policy picks rows. Policies are used from generation 1; generation 0 always trains on `real`."""

    real: Pool
    """The real training pool: `size` rows, the same in every generation."""
    reserve: Pool
    """Real rows that no generation has trained on, in random order."""
    history: Sequence[Pool]
    """Collected pools of earlier generations, oldest first. `history[g]` belongs to generation g."""
    generation: int
    """The number of the generation to train, >= 1."""


class Policy(Protocol):
    """A component that picks the training pool of a generation. Implementations are dataclasses whose fields are their settings.

    The loop calls a policy like this:

        for generation in range(1, generations + 1):
            train = policy(AvailableData(real, reserve, history, generation), size=size, rng=stream(seed, "policy", generation))

    A policy is a pure function: the same arguments give the same pool. It must return rows of the pools in `available` and keep
    their notes (metadata columns). The Protocols `UsesReserve`, `SetsSampleSize`, `DeclaresCounts`, `HasControls` and
    `DeclaresSynthetic` describe the optional members.
    """

    version: ClassVar[int]
    """Version of the code, part of the cache key. Increase it if a change of the code changes the pools."""

    def __call__(self, available: AvailableData, *, size: int, rng: np.random.Generator) -> Pool:
        """Return the training pool. `size` is the number of rows per generation in the experiment."""
        ...


@runtime_checkable
class UsesReserve(Protocol):
    """Optional method of policies that take rows from the reserve (unseen real rows)."""

    def reserve_rows(self, *, size: int, generations: int) -> int:
        """Return the number of reserve rows that the policy uses in the first `generations` generations."""
        ...


@runtime_checkable
class SetsSampleSize(Protocol):
    """Optional method of policies that need more than `size` generated rows."""

    def rows_to_generate(self, *, size: int, generation: int) -> int:
        """Return the number of rows that the model of a generation must generate."""
        ...


@runtime_checkable
class DeclaresCounts(Protocol):
    """Optional method of policies that declare their mixture. The audit stops the run if a fit uses a different mixture."""

    def expected_counts(self, *, size: int, generation: int) -> Mapping[int, int]:
        """Return the number of training rows from the pool of each generation.

        The key `REAL` stands for real rows. The key `ANY` stands for all pools together.
        """
        ...


@runtime_checkable
class HasControls(Protocol):
    """Optional attribute of policies: the policies to compare with. `controls: auto` adds them to an experiment."""

    controls: Sequence[object]
    """Policies in the form of a config."""


@runtime_checkable
class DeclaresSynthetic(Protocol):
    """Optional attribute of policies: False if the policy trains on real rows only."""

    uses_synthetic: bool


def reserve_rows(policy: Policy, *, size: int, generations: int) -> int:
    """Return the number of reserve rows that a policy uses in the first `generations` generations. Default: 0."""
    return policy.reserve_rows(size=size, generations=generations) if isinstance(policy, UsesReserve) else 0


def rows_to_generate(policy: Policy, *, size: int, generation: int) -> int:
    """Return the number of rows that the model of a generation must generate for a policy. Default: `size`."""
    return policy.rows_to_generate(size=size, generation=generation) if isinstance(policy, SetsSampleSize) else size


def expected_counts(policy: Policy, *, size: int, generation: int) -> Mapping[int, int] | None:
    """Return the mixture that a policy declares for a generation, or None if the policy declares no mixture."""
    return policy.expected_counts(size=size, generation=generation) if isinstance(policy, DeclaresCounts) else None


def controls_of(policy: Policy) -> Sequence[object]:
    """Return the controls of a policy in the form of a config. Default: none."""
    return policy.controls if isinstance(policy, HasControls) else ()


def uses_synthetic(policy: Policy) -> bool:
    """Return True if a policy trains on generated rows, False if it trains on real rows only. Default: True."""
    return policy.uses_synthetic if isinstance(policy, DeclaresSynthetic) else True
