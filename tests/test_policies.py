from __future__ import annotations

import numpy as np
import pytest
from autophagy.common.policies import Accumulate, Mix, Real, Replace, Sources
from autophagy.common.pool import REAL, Pool, births
from hypothesis import given
from hypothesis import strategies as st


def sources(generation: int, size: int = 10, reserve: int = 40) -> Sources:
    """Row x of generation g is 100 (g + 1) + x; real rows are 0 ... size, reserve rows are negative."""
    return Sources(
        real=Pool.of(x=np.arange(size)).note(generation=REAL),
        reserve=Pool.of(x=-1 - np.arange(reserve)).note(generation=REAL),
        history=[Pool.of(x=100 * (g + 1) + np.arange(size)).note(generation=g) for g in range(generation)],
        generation=generation,
    )


def pick(policy, generation, size=10):
    return policy(sources(generation, size), size=size, rng=np.random.default_rng(0))


def test_replace_trains_on_the_last_generation_alone():
    assert births(pick(Replace(), 3)) == {2: 10}


def test_accumulate_keeps_everything():
    assert births(pick(Accumulate(), 3)) == {REAL: 10, 0: 10, 1: 10, 2: 10}


def test_real_is_the_same_every_generation():
    assert pick(Real(), 1).digest == pick(Real(), 4).digest == sources(1).real.digest


@given(st.floats(0, 1), st.integers(2, 60), st.integers(1, 4))
def test_mix_has_the_share_it_was_asked_for_to_the_row(fraction, size, generation):
    born = births(Mix(fraction)(sources(generation, size), size=size, rng=np.random.default_rng(0)))
    assert sum(born.values()) == size
    assert abs(born.get(REAL, 0) - fraction * size) <= 0.5
    assert set(born) <= {REAL, generation - 1}


def test_fixed_real_rows_stay_and_fresh_ones_never_come_back():
    real = lambda policy, generation: [x for x in pick(policy, generation).list("x") if x < 100]  # noqa: E731
    fixed, fresh = Mix(0.3), Mix(0.3, real="fresh")
    assert real(fixed, 1) == real(fixed, 3)
    seen = [x for generation in (1, 2, 3) for x in real(fresh, generation)]
    assert len(set(seen)) == 9
    assert all(x < 0 for x in seen), "fresh rows come from the reserve"
    assert fresh.reserve_rows(size=10, generations=3) == 9
    assert fixed.reserve_rows(size=10, generations=3) == 0


@pytest.mark.parametrize("policy", [Replace(), Accumulate(), Mix(0.5), Mix(0.2, real="fresh"), Real()])
def test_policies_are_pure(policy):
    given_sources = sources(2)
    before = [pool.digest for pool in (given_sources.real, given_sources.reserve, *given_sources.history)]
    one = policy(given_sources, size=10, rng=np.random.default_rng(5))
    two = policy(given_sources, size=10, rng=np.random.default_rng(5))
    assert one.digest == two.digest
    assert before == [pool.digest for pool in (given_sources.real, given_sources.reserve, *given_sources.history)]
