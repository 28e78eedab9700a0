"""The policy contract: plug-ins without the optional members work with defaults."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from autophagy.common.components.policies import Accumulate, Mix, Real, RealFresh, Replace, ReplaceGrowing
from autophagy.common.components.policy import controls_of, expected_counts, reserve_rows, rows_to_generate, uses_synthetic


@dataclass(frozen=True)
class Minimal:
    """Only the required members."""

    version: ClassVar[int] = 1

    def __call__(self, available, *, size: int, rng: np.random.Generator):
        return available.history[-1]


def test_policy_without_optional_members_gets_defaults():
    policy = Minimal()
    assert reserve_rows(policy, size=10, generations=3) == 0
    assert rows_to_generate(policy, size=10, generation=3) == 10
    assert expected_counts(policy, size=10, generation=3) is None
    assert controls_of(policy) == ()
    assert uses_synthetic(policy)


def test_optional_members_of_built_in_policies_are_read():
    assert reserve_rows(Mix(0.2, real="fresh"), size=10, generations=3) == 6
    assert rows_to_generate(ReplaceGrowing(), size=10, generation=1) == 30
    assert expected_counts(Replace(), size=10, generation=3) == {2: 10}
    assert controls_of(Accumulate()) == ("replace-growing", "real-growing")
    assert uses_synthetic(Replace()) and not uses_synthetic(Real()) and not uses_synthetic(RealFresh())
