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


def collect_rows(arm, *, n=100, curate=None, max_candidates_per_row=20, unseen_rows=1000):
    """Collect a pool; returns it with the reserve. Generated rows have x = 0, 1, 2, ...; real rows x = -1, -2, ..."""
    counter = itertools.count()
    sample = lambda batch, skip, k: column([next(counter) for _ in range(k)]).note(generation=3, source="m")  # noqa: E731
    real = reserve(unseen_rows)
    curate = curate or (lambda candidates: CurationResult(np.arange(len(candidates))))
    rng = np.random.default_rng(0)
    return collect(arm, n=n, sample=sample, curate=curate, real=real, max_candidates_per_row=max_candidates_per_row, rng=rng), real


def reserve(rows) -> RealReserve:
    return RealReserve(column(-1 - np.arange(rows)).note(generation=REAL, source="real"))


def test_synthetic_fraction_is_exact_and_real_rows_are_used_once():
    result, real = collect_rows(arm(synthetic_fraction=0.37))
    assert count_by_generation(result.pool) == {REAL: 63, 3: 37}
    assert real.used == 63
    assert len({*real.take(5).list("x")} & {*result.pool.list("x")}) == 0
    is_real = result.pool.array("x") < 0
    assert is_real[:50].any() and is_real[50:].any(), "rows are shuffled, so that a part of the pool has the same fraction"


def test_candidates_are_sampled_until_enough_are_kept():
    half = lambda candidates: CurationResult(np.flatnonzero(candidates.array("x") % 2 == 0))  # noqa: E731
    result, _ = collect_rows(arm(curation={"use": "dedup"}), curate=half)
    assert result.pool.list("x") == [2.0 * k for k in range(100)]
    assert len(result.candidates) == 200
    first, _ = collect_rows(arm(curation={"use": "verify", "keep": 0.25}), curate=half)
    assert len(first.candidates) == 400, "the expected keep rate sets the number of candidates sampled at first"


def test_curation_that_keeps_too_few_rows_stops_the_run():
    keep_one = lambda candidates: CurationResult(np.array([0]))  # noqa: E731
    message = (
        r"^curation 'dedup' keeps 1 of 500 candidates, but 100 rows are needed; "
        r"raise max_candidates_per_row \(now 5\) or choose a curation that keeps more$"
    )
    with pytest.raises(UserError, match=message):
        collect_rows(arm(curation="dedup"), curate=keep_one, max_candidates_per_row=5)


def test_exhausted_reserve_stops_the_run():
    message = "^synthetic_fraction: all 20 unseen real rows are used up; reduce size or generations, or use more data$"
    with pytest.raises(UserError, match=message):
        collect_rows(arm(synthetic_fraction=0.5), unseen_rows=20)


def count_generated(pool) -> int:
    return int((pool.array("_generation") != REAL).sum())


def test_synthetic_fraction_holds_over_small_batches():
    for n, synthetic_fraction, curation in [(5, 0.5, {"use": "prune", "keep": 0.25}), (10, 0.05, {"use": "prune", "keep": 0.2})]:
        keep = lambda candidates, curation=curation: CurationResult(np.arange(len(candidates))[:: round(1 / curation["keep"])])  # noqa: E731
        result, real = collect_rows(arm(synthetic_fraction=synthetic_fraction, curation=curation), n=n, curate=keep)
        assert count_generated(result.candidates) == round(synthetic_fraction * len(result.candidates))
        assert real.used == real_rows_to_collect(arm(synthetic_fraction=synthetic_fraction, curation=curation), size=n, generations=1)


def test_missing_row_is_sampled_without_empty_batches():
    requests = []
    counter = itertools.count()

    def sample(batch, skip, k):
        requests.append((skip, k))
        return column([next(counter) for _ in range(k)]).note(generation=3, source="m")

    def collect_ten(arm):
        rng = np.random.default_rng(0)
        return collect(arm, n=10, sample=sample, curate=all_but_first, real=real, max_candidates_per_row=20, rng=rng)

    real = reserve(50)
    all_but_first = lambda candidates: CurationResult(np.arange(1, len(candidates)))  # noqa: E731
    result = collect_ten(arm(synthetic_fraction=0.3))
    assert requests == [(0, 3)] and len(result.pool) == 10
    result = collect_ten(arm(synthetic_fraction=0.3, curation="dedup"))
    assert len(result.pool) == 10 and all(k > 0 for _, k in requests)
    assert [skip for skip, _ in requests[1:]] == [0, 3][: len(requests) - 1], "a later batch continues the prompts"


def test_required_reserve_grows_with_the_sample_size():
    growing = Arm.parse({"use": "replace-growing", "synthetic_fraction": 0.5})
    assert real_rows_to_collect(growing, size=10, generations=3) == 10 + 15 + 20
