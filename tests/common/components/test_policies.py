"""Built-in policies: which rows they take, how many, and how their controls match them."""

from __future__ import annotations

import numpy as np
import pytest
from autophagy.common.components.policies import (
    Accumulate,
    AccumulateSubsample,
    Augment,
    Mix,
    Real,
    RealFresh,
    RealGrowing,
    Replace,
    ReplaceGrowing,
    Window,
)
from autophagy.common.components.policy import ANY, AvailableData, reserve_rows, rows_to_generate
from autophagy.common.config.registry import ComponentSpec, SettingError
from autophagy.common.core.pool import REAL, Pool, count_by_generation
from hypothesis import given
from hypothesis import strategies as st


def available(generation: int, size: int = 10, reserve: int = 40) -> AvailableData:
    """Pools whose rows show their origin: x >= 100 (g + 1) from generation g, 0 <= x < size real, x < 0 from the reserve."""
    return AvailableData(
        real=Pool.of(x=np.arange(size)).note(generation=REAL),
        reserve=Pool.of(x=-1 - np.arange(reserve)).note(generation=REAL),
        history=[Pool.of(x=100 * (g + 1) + np.arange(size)).note(generation=g) for g in range(generation)],
        generation=generation,
    )


def pick(policy, generation, size=10):
    return policy(available(generation, size), size=size, rng=np.random.default_rng(0))


def test_replace_trains_on_the_last_generation_only():
    assert count_by_generation(pick(Replace(), 3)) == {2: 10}


def test_accumulate_keeps_everything():
    assert count_by_generation(pick(Accumulate(), 3)) == {REAL: 10, 0: 10, 1: 10, 2: 10}


def test_real_is_the_same_every_generation():
    assert pick(Real(), 1).digest == pick(Real(), 4).digest == available(1).real.digest


@given(st.floats(0, 1), st.integers(2, 60), st.integers(1, 4))
def test_mix_has_the_requested_number_of_real_rows(fraction, size, generation):
    born = count_by_generation(Mix(fraction)(available(generation, size), size=size, rng=np.random.default_rng(0)))
    assert sum(born.values()) == size
    assert abs(born.get(REAL, 0) - fraction * size) <= 0.5
    assert set(born) <= {REAL, generation - 1}


def test_fixed_real_rows_stay_and_fresh_rows_are_used_once():
    real = lambda policy, generation: [x for x in pick(policy, generation).list("x") if x < 100]  # noqa: E731
    fixed, fresh = Mix(0.3), Mix(0.3, real="fresh")
    assert real(fixed, 1) == real(fixed, 3)
    seen = [x for generation in (1, 2, 3) for x in real(fresh, generation)]
    assert len(set(seen)) == 9
    assert all(x < 0 for x in seen), "fresh rows come from the reserve"
    assert fresh.reserve_rows(size=10, generations=3) == 9
    assert reserve_rows(fixed, size=10, generations=3) == reserve_rows(Replace(), size=10, generations=3) == 0


def test_window_drops_older_pools():
    assert count_by_generation(pick(Window(2), 3)) == {1: 10, 2: 10}
    assert count_by_generation(pick(Window(2), 1)) == {REAL: 10, 0: 10}
    assert count_by_generation(pick(Window(9), 3)) == count_by_generation(pick(Accumulate(), 3))


def test_subsample_has_fixed_size_and_draws_from_all_pools():
    born = count_by_generation(pick(AccumulateSubsample(), 3, size=200))
    assert sum(born.values()) == 200
    assert set(born) == {REAL, 0, 1, 2}
    assert max(born.values()) < 90, "each of the four pools contributes about a quarter"


def test_real_controls_match_pool_sizes_with_unseen_rows():
    fresh = [pick(RealFresh(), generation).list("x") for generation in (1, 2, 3)]
    assert len({x for rows in fresh for x in rows}) == 30
    assert count_by_generation(pick(RealGrowing(), 3)) == {REAL: 40}
    assert len(pick(RealGrowing(), 3)) == len(pick(Accumulate(), 3))
    assert reserve_rows(RealGrowing(), size=10, generations=3) == reserve_rows(RealFresh(), size=10, generations=3) == 30
    pools = available(2)
    history = [
        *pools.history[:-1],
        Pool.of(x=np.arange(rows_to_generate(ReplaceGrowing(), size=10, generation=1))).note(generation=1),
    ]
    growing = AvailableData(pools.real, pools.reserve, history, 2)
    assert len(ReplaceGrowing()(growing, size=10, rng=np.random.default_rng(0))) == len(pick(Accumulate(), 2))
    assert rows_to_generate(Replace(), size=10, generation=1) == 10


@pytest.mark.parametrize(
    ("fraction", "expected"), [(0.2, [20] * 4), ([0.5, 0.2], [50, 20, 20, 20]), ("1/t", [100, 50, 33, 25]), ("1/t^2", [100, 25, 11, 6])]
)
def test_real_fractions_follow_their_schedule(fraction, expected):
    policy = Mix(fraction, real="fresh")
    assert [policy.real_rows(size=100, generation=generation) for generation in (1, 2, 3, 4)] == expected
    assert policy.reserve_rows(size=100, generations=4) == sum(expected)


@pytest.mark.parametrize("fraction", [-0.1, 1.1, [], [0.1, 2], "1/x", "t^2", "1/t^-1"])
def test_invalid_real_fractions_are_rejected(fraction):
    with pytest.raises(ValueError, match="real_fraction"):
        Mix(fraction)


EVERY = [
    Replace(), ReplaceGrowing(), Accumulate(), AccumulateSubsample(), Window(2), Mix(0.5), Mix(0.2, real="fresh"),
    Real(), RealFresh(), RealGrowing(),
]  # fmt: skip


@pytest.mark.parametrize("policy", EVERY, ids=lambda policy: type(policy).__name__)
def test_policies_are_pure(policy):
    pools = available(2)
    if isinstance(policy, ReplaceGrowing):
        pools = AvailableData(pools.real, pools.reserve, [*pools.history, Pool.concat(pools.history * 2)], 2)
    before = [pool.digest for pool in (pools.real, pools.reserve, *pools.history)]
    one = policy(pools, size=10, rng=np.random.default_rng(5))
    two = policy(pools, size=10, rng=np.random.default_rng(5))
    assert one.digest == two.digest
    assert before == [pool.digest for pool in (pools.real, pools.reserve, *pools.history)]


TAKEN = [
    *EVERY, ReplaceGrowing(growth=2.0), ReplaceGrowing(2), RealGrowing(growth=1.5), RealGrowing(2), Window(1), Mix("1/t"),
    Mix([0.5, 0.2], real="fresh"), Augment(), Augment(real="fresh", real_weight=2, synthetic_weight=3),
]  # fmt: skip


@pytest.mark.parametrize("policy", TAKEN, ids=repr)
def test_policies_take_exactly_the_declared_rows(policy):
    size, generations = 10, 4
    real = Pool.of(x=np.arange(size)).note(generation=REAL)
    reserve = Pool.of(x=-1 - np.arange(reserve_rows(policy, size=size, generations=generations))).note(generation=REAL)
    generated = [Pool.of(x=np.arange(rows_to_generate(policy, size=size, generation=g))).note(generation=g) for g in range(generations)]
    unseen = set()
    for generation in range(1, generations + 1):
        pool = policy(AvailableData(real, reserve, generated[:generation], generation), size=size, rng=np.random.default_rng(generation))
        expected_counts = {birth: rows for birth, rows in policy.expected_counts(size=size, generation=generation).items() if rows}
        assert ({ANY: len(pool)} if ANY in expected_counts else count_by_generation(pool)) == expected_counts
        unseen |= {x for x in pool.list("x") if x < 0}
    assert unseen == set(reserve.list("x")), "exactly the reserved rows are used"


def test_growing_pools_follow_growth_and_generations():
    def rows(policy):
        return [policy.rows(size=10, generation=generation) for generation in (1, 2, 3)]

    for policy_type in (ReplaceGrowing, RealGrowing):
        assert rows(policy_type()) == [20, 30, 40]
        assert rows(policy_type(growth=2.0)) == [40, 90, 160]
        assert rows(policy_type(growth=0.5)) == [14, 17, 20]
        assert rows(policy_type(growth=0.0)) == rows(policy_type(1)) == [10, 10, 10]
        assert rows(policy_type(2, growth=2.0)) == [40, 40, 40]
    assert rows_to_generate(ReplaceGrowing(growth=2.0), size=10, generation=0) == 40, "what generation 1 trains on"


@pytest.mark.parametrize("policy", [Accumulate(), Window(2), ReplaceGrowing(2), ReplaceGrowing(growth=2.0)], ids=repr)
def test_controls_of_growing_pools_have_equal_sizes(policy):
    for control in (ComponentSpec.parse("policy", written).build() for written in policy.controls):
        for generation in (1, 2, 3):
            sizes = [sum(one.expected_counts(size=10, generation=generation).values()) for one in (policy, control)]
            assert sizes[0] == sizes[1], control


@pytest.mark.parametrize("use", ["replace-growing", "real-growing"])
@pytest.mark.parametrize(("setting", "value"), [("growth", -0.1), ("growth", 10.1), ("generations", 0)])
def test_invalid_growth_settings_are_rejected(use, setting, value):
    with pytest.raises(SettingError, match=f"{setting}: Input should be (greater|less) than or equal to"):
        ComponentSpec.parse("policy", {"use": use, setting: value})


def test_augment_repeats_rows_by_weight():
    augmented = pick(Augment(real_weight=2, synthetic_weight=3), 2).list("x")
    assert {x: augmented.count(x) for x in augmented} == {**dict.fromkeys(range(10), 2), **dict.fromkeys(range(200, 210), 3)}
    fresh = [[x for x in pick(Augment(real="fresh"), generation).list("x") if x < 0] for generation in (1, 2)]
    assert fresh == [list(range(-1, -11, -1)), list(range(-11, -21, -1))]
