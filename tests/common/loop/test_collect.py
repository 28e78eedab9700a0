"""Collecting: pools have the requested size and share of generated rows, and each unseen real row is used once."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from autophagy import UserError
from autophagy.common.components.curation import CurationResult
from autophagy.common.config.arms import Arm
from autophagy.common.core.pool import REAL, Pool, count_by_generation
from autophagy.common.loop.collect import RealReserve, collect, real_rows_to_collect


def column(values) -> Pool:
    return Pool.of(x=np.array(values, dtype=np.float64))


def arm(**settings) -> Arm:
    return Arm.parse({"use": "replace", **settings})


def collected(arm, *, n=100, curate=None, most=20, spare=1000):
    """Collect a pool. Generated rows have x = 0, 1, 2, ...; real rows x = -1, -2, ..."""
    generated = itertools.count()
    sample = lambda batch, before, k: column([next(generated) for _ in range(k)]).note(generation=3, source="m")  # noqa: E731
    real = RealReserve(column(-1 - np.arange(spare)).note(generation=REAL, source="real"))
    curate = curate or (lambda candidates: CurationResult(np.arange(len(candidates))))
    return collect(arm, n=n, sample=sample, spare=real, curate=curate, most=most, rng=np.random.default_rng(0)), real


def test_synthetic_fraction_is_exact_and_real_rows_are_used_once():
    result, spare = collected(arm(synthetic_fraction=0.37))
    assert count_by_generation(result.pool) == {REAL: 63, 3: 37}
    assert spare.used == 63
    assert len({*spare.take(5).list("x")} & {*result.pool.list("x")}) == 0
    order = result.pool.array("x") < 0
    assert order[:50].any() and order[50:].any(), "real and generated rows are shuffled, so that a part of the pool has the same fraction"


def test_candidates_are_sampled_until_enough_are_kept():
    half = lambda candidates: CurationResult(np.flatnonzero(candidates.array("x") % 2 == 0))  # noqa: E731
    result, _ = collected(arm(curation={"use": "dedup"}), curate=half)
    assert result.pool.list("x") == [2.0 * k for k in range(100)]
    assert len(result.candidates) == 200
    first, _ = collected(arm(curation={"use": "verify", "keep": 0.25}), curate=half)
    assert len(first.candidates) == 400, "the expected keep rate sets the number of candidates sampled at first"


def test_curation_that_keeps_too_few_rows_stops_the_run():
    few = lambda candidates: CurationResult(np.array([0]))  # noqa: E731
    with pytest.raises(
        UserError, match=r"curation 'dedup' keeps 1 of 500 candidates and 100 rows are needed; max_candidates_per_row: 5 a row"
    ):
        collected(arm(curation="dedup"), curate=few, most=5)


def test_exhausted_reserve_stops_the_run():
    with pytest.raises(UserError, match="synthetic_fraction: the 20 real rows that no generation has seen are used up"):
        collected(arm(synthetic_fraction=0.5), spare=20)


def count_generated(pool) -> int:
    return int((pool.array("_generation") != REAL).sum())


def test_synthetic_fraction_holds_over_small_batches():
    for n, synthetic_fraction, curation in [(5, 0.5, {"use": "prune", "keep": 0.25}), (10, 0.05, {"use": "prune", "keep": 0.2})]:
        keep = lambda candidates, curation=curation: CurationResult(np.arange(len(candidates))[:: round(1 / curation["keep"])])  # noqa: E731
        result, spare = collected(arm(synthetic_fraction=synthetic_fraction, curation=curation), n=n, curate=keep)
        assert count_generated(result.candidates) == round(synthetic_fraction * len(result.candidates))
        assert spare.used == real_rows_to_collect(arm(synthetic_fraction=synthetic_fraction, curation=curation), size=n, generations=1)


def test_missing_row_is_sampled_without_empty_batches():
    requests = []
    counter = itertools.count()

    def sample(batch, before, k):
        requests.append((before, k))
        return column([next(counter) for _ in range(k)]).note(generation=3, source="m")

    spare = RealReserve(column(-1 - np.arange(50)).note(generation=REAL, source="real"))
    all_but_one = lambda candidates: CurationResult(np.arange(1, len(candidates)))  # noqa: E731
    result = collect(
        arm(synthetic_fraction=0.3), n=10, sample=sample, spare=spare, curate=all_but_one, most=20, rng=np.random.default_rng(0)
    )
    assert requests == [(0, 3)] and len(result.pool) == 10
    curated = arm(synthetic_fraction=0.3, curation="dedup")
    result = collect(curated, n=10, sample=sample, spare=spare, curate=all_but_one, most=20, rng=np.random.default_rng(0))
    assert len(result.pool) == 10 and all(k > 0 for _, k in requests)
    assert [before for before, _ in requests[1:]] == [0, 3][: len(requests) - 1], "a later batch continues the prompts"


def test_required_reserve_grows_with_the_sample_size():
    growing = Arm.parse({"use": "replace-growing", "synthetic_fraction": 0.5})
    assert real_rows_to_collect(growing, size=10, generations=3) == 10 + 15 + 20
