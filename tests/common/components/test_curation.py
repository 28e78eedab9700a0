"""What is kept of what was made: each curation does what it says, and the collecting counts right."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from autophagy import UserError, experiment, run
from autophagy.common.components.curation import CurationResult, Dedup, Detect, Prune, Verify, _match_quantiles
from autophagy.common.components.metric import MetricInputs
from autophagy.common.config.arms import Arm
from autophagy.common.config.registry import registered
from autophagy.common.core.pool import REAL, Pool, count_by_generation
from autophagy.common.loop.collect import RealReserve, collect, spare_rows
from autophagy.text.curation import MinHashDedup
from autophagy.text.data import Bible
from autophagy.vision.curation import PixelDedup
from support.tiny import ANALYTIC, TEXT, TINY, VISION


class Judge:
    """A model whose score of a row is its distance from 0, and whose watermark is an x above 10."""

    def score(self, pool):
        return np.abs(pool.array("x"))

    def detect(self, pool):
        return pool.array("x").astype(float)


def inputs(**parts) -> MetricInputs:
    return MetricInputs("test", {name: (lambda value=value: value) for name, value in parts.items()})


def keep(curation, pool, seed=0, **parts) -> list:
    return curation(pool, inputs(**parts), rng=np.random.default_rng(seed)).of(pool).list(pool.columns[0])


def column(values) -> Pool:
    return Pool.of(x=np.array(values, dtype=np.float64))


# ---- each curation ------------------------------------------------------------------------------------------------------


def test_a_verifier_without_error_keeps_the_best():
    assert keep(Verify(keep=0.5), column([5, -1, 3, 0.5]), base=Judge()) == [-1, 0.5]


@pytest.mark.parametrize("error", [0.0, 0.3, 0.5, 1.0])
def test_a_verifier_errs_as_often_as_it_says_and_keeps_what_it_expects(error):
    pool = column(np.random.default_rng(0).standard_normal(20_000))
    verify = Verify(keep=0.3, error=error)
    kept = verify(pool, inputs(base=Judge()), rng=np.random.default_rng(1))
    assert kept.stats["verdicts_wrong"] == pytest.approx(error, abs=0.01)
    assert len(kept.rows) / len(pool) == pytest.approx(verify.expected_keep_rate(synthetic_fraction=1.0), abs=0.01)
    good = np.abs(pool.array("x")[kept.rows]) < np.quantile(np.abs(pool.array("x")), 0.3)
    assert good.mean() == pytest.approx(0.3 * (1 - error) / verify.expected_keep_rate(synthetic_fraction=1.0), abs=0.01)


def test_pruning_by_quality_typicality_and_match():
    pool, real = column([0.1, 0.9, 1.1, 5.0]), column([0.8, 1.0, 1.2])
    assert keep(Prune(strategy="quality", keep=0.5), pool, base=Judge(), real=real) == [0.1, 0.9]
    assert keep(Prune(strategy="typicality", keep=0.5), pool, base=Judge(), real=real) == [0.9, 1.1]
    rng = np.random.default_rng(0)
    generated, real = column(2 * rng.standard_normal(2000)), column(rng.standard_normal(300))
    kept = np.abs(keep(Prune(strategy="match", keep=0.2), generated, base=Judge(), real=real))
    quantiles = np.linspace(0.05, 0.95, 19)
    assert np.abs(np.quantile(kept, quantiles) - np.quantile(np.abs(real.array("x")), quantiles)).max() < 0.1


def test_match_quantiles_is_the_best_of_all_choices():
    rng = np.random.default_rng(3)
    for _ in range(20):
        values, real = rng.standard_normal(6), rng.standard_normal(30)
        wanted = np.quantile(real, (np.arange(3) + 0.5) / 3)
        distance = lambda rows, wanted=wanted, values=values: np.abs(np.sort(values[list(rows)]) - wanted).sum()  # noqa: E731
        assert distance(_match_quantiles(values, real, 3)) == pytest.approx(min(map(distance, itertools.combinations(range(6), 3))))


def test_scores_of_real_rows_in_feature_space_are_not_their_distance_to_themselves():
    real = column([0, 1, 5])
    features = lambda pool: {"features": pool.array("x")[:, None]}  # noqa: E731
    typical = keep(Prune(strategy="typicality", by="features", keep=0.3), column([0.0, 2.0, 9.0]), real=real, features=features)
    assert typical == [2.0], "the median real row has a neighbour at distance 1"


def test_equal_rows_go_and_nearly_equal_ones_if_that_is_asked_for():
    assert keep(Dedup(), column([1, 2, 1, 1, 3])) == [1, 2, 3]
    assert keep(Dedup(against_real=True), column([1, 2, 1, 3]), real=column([2])) == [1, 3]
    text = "in the beginning god created the heaven and the earth and the earth was without form"
    texts = [text, text + " and void", "and god said let there be light and there was light and god saw it", text.upper()]
    assert keep(Dedup(), Pool.of(text=texts)) == texts
    assert keep(MinHashDedup(similarity=0.6), Pool.of(text=texts)) == [texts[0], texts[2]]
    grey = np.full((4, 4, 4, 1), 100, dtype=np.uint8)
    grey[1] += 5
    grey[2] += 40
    grey[3] += 50
    kept = PixelDedup(distance=12)(Pool.of(image=grey), inputs(), rng=np.random.default_rng(0))
    assert kept.rows.tolist() == [0, 2]


def test_near_duplicates_are_told_by_their_overlap_not_by_chance():
    """Against the exact rule on 300 real passages, where hardly two are alike: a false alarm in a thousand comparisons would show."""
    texts = Bible(words=32).load(eval_size=300)["heldout"].list("text")
    curation, kept = MinHashDedup(similarity=0.4, ngram=1), []
    for row, text in enumerate(texts):
        own = curation._grams(text)
        if all(len(own & other) / len(own | other) <= 0.4 for _, other in kept):
            kept.append((row, own))
    found = curation(Pool.of(text=texts), inputs(), rng=np.random.default_rng(0)).rows
    assert len({row for row, _ in kept} ^ set(found.tolist())) <= 6
    for similarity, permutations in [(0.99, 16), (0.05, 16), (0.95, 32)]:  # settings that the library's index alone would refuse
        MinHashDedup(similarity=similarity, permutations=permutations)(Pool.of(text=texts[:3]), inputs(), rng=np.random.default_rng(0))


def test_a_detector_drops_what_it_flags_at_the_rate_of_false_alarms_it_is_given():
    rng = np.random.default_rng(0)
    real, others = column(rng.standard_normal(5000)), rng.standard_normal(5000)
    candidates = column(np.concatenate([others, rng.standard_normal(5000) + 4]))
    kept = Detect(false_positives=0.02)(candidates, inputs(model=Judge(), real=real), rng=rng)
    assert (kept.rows < 5000).mean() > 0.95
    assert 1 - (kept.rows < 5000).sum() / 5000 == pytest.approx(0.02, abs=0.01)
    assert kept.stats["threshold"] == pytest.approx(2.05, abs=0.1)
    fixed = Detect(threshold=10.0)(candidates, inputs(model=Judge(), real=real), rng=rng)
    assert len(fixed.rows) == 10_000


# ---- collecting ---------------------------------------------------------------------------------------------------------


def arm(**own) -> Arm:
    return Arm.parse({"use": "replace", **own})


def collected(arm, *, n=100, curate=None, most=20, spare=1000):
    """Made rows are 0, 1, 2, ...; real rows are -1, -2, ..."""
    generated = itertools.count()
    sample = lambda batch, before, k: column([next(generated) for _ in range(k)]).note(generation=3, source="m")  # noqa: E731
    real = RealReserve(column(-1 - np.arange(spare)).note(generation=REAL, source="real"))
    curate = curate or (lambda candidates: CurationResult(np.arange(len(candidates))))
    return collect(arm, n=n, sample=sample, spare=real, curate=curate, most=most, rng=np.random.default_rng(0)), real


def test_contamination_is_a_share_to_the_row_and_every_real_row_comes_once():
    found, spare = collected(arm(synthetic_fraction=0.37))
    assert count_by_generation(found.pool) == {REAL: 63, 3: 37}
    assert spare.used == 63
    assert len({*spare.take(5).list("x")} & {*found.pool.list("x")}) == 0
    order = found.pool.array("x") < 0
    assert order[:50].any() and order[50:].any(), "real and made rows are shuffled, so that cutting the pool keeps the share"


def test_candidates_are_sampled_until_enough_are_kept_and_no_longer():
    half = lambda candidates: CurationResult(np.flatnonzero(candidates.array("x") % 2 == 0))  # noqa: E731
    found, _ = collected(arm(curation={"use": "dedup"}), curate=half)
    assert found.pool.list("x") == [2.0 * k for k in range(100)]
    assert len(found.candidates) == 200
    first, _ = collected(arm(curation={"use": "verify", "keep": 0.25}), curate=half)
    assert len(first.candidates) == 400, "what a curation expects to keep says how many are sampled to begin with"


def test_a_curation_that_keeps_too_little_stops_the_run_and_says_why():
    few = lambda candidates: CurationResult(np.array([0]))  # noqa: E731
    with pytest.raises(
        UserError, match=r"curation 'dedup' keeps 1 of 500 candidates and 100 rows are needed; max_candidates_per_row: 5 a row"
    ):
        collected(arm(curation="dedup"), curate=few, most=5)


def test_real_rows_that_run_out_stop_the_run_and_say_why():
    with pytest.raises(UserError, match="synthetic_fraction: the 20 real rows that no generation has seen are used up"):
        collected(arm(synthetic_fraction=0.5), spare=20)


def test_the_share_holds_over_all_batches_however_small():
    for n, synthetic_fraction, curation in [(5, 0.5, {"use": "prune", "keep": 0.25}), (10, 0.05, {"use": "prune", "keep": 0.2})]:
        keep = lambda candidates, curation=curation: CurationResult(np.arange(len(candidates))[:: round(1 / curation["keep"])])  # noqa: E731
        found, spare = collected(arm(synthetic_fraction=synthetic_fraction, curation=curation), n=n, curate=keep)
        assert born_made(found.candidates) == round(synthetic_fraction * len(found.candidates))
        assert spare.used == spare_rows(arm(synthetic_fraction=synthetic_fraction, curation=curation), size=n, generations=1)


def born_made(pool) -> int:
    return int((pool.array("_generation") != REAL).sum())


def test_one_row_short_is_made_up_for_without_asking_for_no_rows():
    asked = []
    counter = itertools.count()

    def sample(batch, before, k):
        asked.append((before, k))
        return column([next(counter) for _ in range(k)]).note(generation=3, source="m")

    spare = RealReserve(column(-1 - np.arange(50)).note(generation=REAL, source="real"))
    all_but_one = lambda candidates: CurationResult(np.arange(1, len(candidates)))  # noqa: E731
    found = collect(
        arm(synthetic_fraction=0.3), n=10, sample=sample, spare=spare, curate=all_but_one, most=20, rng=np.random.default_rng(0)
    )
    assert asked == [(0, 3)] and len(found.pool) == 10
    curated = arm(synthetic_fraction=0.3, curation="dedup")
    found = collect(curated, n=10, sample=sample, spare=spare, curate=all_but_one, most=20, rng=np.random.default_rng(0))
    assert len(found.pool) == 10 and all(k > 0 for _, k in asked)
    assert [before for before, _ in asked[1:]] == [0, 3][: len(asked) - 1], "prompts go on where they stopped"


def test_a_real_row_that_was_rewritten_is_no_longer_real():
    notes = {"generation": [REAL, REAL, 4], "depth": [0.0, 0.0, 2.0], "source": ["real", "real", "m"], "collected": 4}
    candidates = Pool.of(text=["a", "b", "c"]).note(**notes)
    pool = CurationResult(np.arange(3), edited=Pool.of(text=["a", "B", "C"])).of(candidates)
    assert pool.list("_generation") == [REAL, 4, 4]
    assert pool.list("_depth") == [0.0, 1.0, 2.0]
    assert pool.list("_source") == ["real", "edited", "m"]


def test_rows_the_reserve_must_hold_grow_with_what_a_generation_makes():
    growing = Arm.parse({"use": "replace-growing", "synthetic_fraction": 0.5})
    assert spare_rows(growing, size=10, generations=3) == 10 + 15 + 20


# ---- through the loop ---------------------------------------------------------------------------------------------------

WATERMARKED = {
    "text": {**TINY["ngram"], "sampling": {"watermark": {"delta": 4.0}}},
    "vision": {**TINY["gmm"], "sampling": {"watermark": {"strength": 48}}},
}
LABELS = {
    **ANALYTIC,
    "data": {"use": "halfspace", "rows": 40, "dimensions": 3},
    "generator": "linear-classifier",
    "metrics": ["plane-accuracy"],
}
LOOPS = {
    "analytic": (ANALYTIC, ["verify", "prune", "dedup"], {}),
    "labels": (LABELS, ["verify-labels"], {}),
    "text": ({**TEXT, "generator": TINY["ngram"], "base": {}}, ["verify", "prune", "dedup", "minhash-dedup", "token-edit"], {}),
    "vision": (VISION, ["verify", "prune", "dedup", "pixel-dedup"], {"by": "features"}),
    "text-detect": ({**TEXT, "generator": WATERMARKED["text"], "metrics": ["watermark"], "base": None}, ["detect"], {}),
    "vision-detect": ({**VISION, "generator": WATERMARKED["vision"], "metrics": ["watermark"]}, ["detect"], {}),
}


@pytest.mark.parametrize("case", LOOPS)
def test_every_curation_goes_round_the_loop_and_says_what_it_did(case, tmp_path):
    written, curations, scorer = LOOPS[case]
    arms = {
        name: {"use": "replace", "synthetic_fraction": 0.5, "curation": {"use": name, **(scorer if name in ("verify", "prune") else {})}}
        for name in curations
    }
    wanted = experiment({**written, "size": 20, "eval_size": 10, "seeds": [0], "policies": arms, "data": roomy(written["data"])})
    rows = run(wanted, store=tmp_path)
    for name in curations:
        own = rows[(rows.policy == name) & (rows.generation == 2)].set_index("metric").value
        assert own["candidates"] >= 20
        assert 0 < own["kept_share"] <= 1
        assert own["trained_rows/real" if "trained_rows/real" in own else "real_share"] > 0
        assert "candidates" not in set(rows[rows.generation == 3].metric), "nothing learns from what the last generation makes"
    assert run(wanted, store=tmp_path).equals(rows), "a curated run is read back from the store"


def roomy(data):
    return {**data, "rows": 400} if isinstance(data, dict) and "rows" in data else data


def test_no_curation_is_left_out_above():
    assert {name for _, curations, _ in LOOPS.values() for name in curations} == set(registered("curation"))


def test_a_curation_never_sees_who_made_a_row(tmp_path):
    policies = {"spy": {"use": "replace", "synthetic_fraction": 0.5, "curation": "support.spying_curations:AssertsDataColumnsOnly"}}
    run(experiment({**ANALYTIC, "data": {"use": "gaussian", "rows": 200, "worlds": 2}, "policies": policies}), store=tmp_path)
