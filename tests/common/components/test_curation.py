"""Curations: each one keeps or edits the rows that its settings promise, alone and through the loop."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from autophagy import experiment, run
from autophagy.common.components.curation import CurationResult, Dedup, Detect, Prune, Verify, _match_quantiles
from autophagy.common.components.metric import MetricInputs
from autophagy.common.config.registry import registered
from autophagy.common.core.pool import REAL, Pool
from autophagy.text.curation import MinHashDedup
from autophagy.text.data import Bible
from autophagy.vision.curation import PixelDedup
from support.tiny import ANALYTIC, TEXT, TINY, VISION


class DistanceModel:
    """A model that scores a row by its distance from 0 and detects a watermark by its value."""

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


# ---- single curations ----------------------------------------------------------------------------------------------------


def test_verifier_without_error_keeps_the_best():
    assert keep(Verify(keep=0.5), column([5, -1, 3, 0.5]), base=DistanceModel()) == [-1, 0.5]


@pytest.mark.parametrize("error", [0.0, 0.3, 0.5, 1.0])
def test_verifier_error_and_keep_rate_match_the_settings(error):
    pool = column(np.random.default_rng(0).standard_normal(20_000))
    verify = Verify(keep=0.3, error=error)
    kept = verify(pool, inputs(base=DistanceModel()), rng=np.random.default_rng(1))
    assert kept.stats["verdicts_wrong"] == pytest.approx(error, abs=0.01)
    assert len(kept.rows) / len(pool) == pytest.approx(verify.expected_keep_rate(synthetic_fraction=1.0), abs=0.01)
    good = np.abs(pool.array("x")[kept.rows]) < np.quantile(np.abs(pool.array("x")), 0.3)
    assert good.mean() == pytest.approx(0.3 * (1 - error) / verify.expected_keep_rate(synthetic_fraction=1.0), abs=0.01)


def test_prune_by_quality_typicality_and_match():
    pool, real = column([0.1, 0.9, 1.1, 5.0]), column([0.8, 1.0, 1.2])
    assert keep(Prune(strategy="quality", keep=0.5), pool, base=DistanceModel(), real=real) == [0.1, 0.9]
    assert keep(Prune(strategy="typicality", keep=0.5), pool, base=DistanceModel(), real=real) == [0.9, 1.1]
    rng = np.random.default_rng(0)
    generated, real = column(2 * rng.standard_normal(2000)), column(rng.standard_normal(300))
    kept = np.abs(keep(Prune(strategy="match", keep=0.2), generated, base=DistanceModel(), real=real))
    quantiles = np.linspace(0.05, 0.95, 19)
    assert np.abs(np.quantile(kept, quantiles) - np.quantile(np.abs(real.array("x")), quantiles)).max() < 0.1


def test_match_quantiles_is_optimal():
    rng = np.random.default_rng(3)
    for _ in range(20):
        values, real = rng.standard_normal(6), rng.standard_normal(30)
        quantiles = np.quantile(real, (np.arange(3) + 0.5) / 3)
        distance = lambda rows, quantiles=quantiles, values=values: np.abs(np.sort(values[list(rows)]) - quantiles).sum()  # noqa: E731
        assert distance(_match_quantiles(values, real, 3)) == pytest.approx(min(map(distance, itertools.combinations(range(6), 3))))


def test_feature_scores_of_real_rows_exclude_the_row_itself():
    real = column([0, 1, 5])
    features = lambda pool: {"features": pool.array("x")[:, None]}  # noqa: E731
    typical = keep(Prune(strategy="typicality", by="features", keep=0.3), column([0.0, 2.0, 9.0]), real=real, features=features)
    assert typical == [2.0], "the score of the median real row is its distance to a neighbour, 1"


def test_exact_and_near_duplicates_are_dropped():
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


def test_minhash_agrees_with_exact_overlap():
    """Compares with exact overlap on 300 real passages. Hardly any two are alike, so one false match in 1,000 comparisons would show."""
    texts = Bible(words=32).load(eval_size=300)["heldout"].list("text")
    curation, expected = MinHashDedup(similarity=0.4, ngram=1), []
    for row, text in enumerate(texts):
        own = curation._ngrams(text)
        if all(len(own & other) / len(own | other) <= 0.4 for _, other in expected):
            expected.append((row, own))
    rows = curation(Pool.of(text=texts), inputs(), rng=np.random.default_rng(0)).rows
    assert len({row for row, _ in expected} ^ set(rows.tolist())) <= 6
    for similarity, permutations in [(0.99, 16), (0.05, 16), (0.95, 32)]:  # the index of datasketch rejects these settings
        MinHashDedup(similarity=similarity, permutations=permutations)(Pool.of(text=texts[:3]), inputs(), rng=np.random.default_rng(0))


def test_detector_has_the_requested_false_positive_rate():
    rng = np.random.default_rng(0)
    real, others = column(rng.standard_normal(5000)), rng.standard_normal(5000)
    candidates = column(np.concatenate([others, rng.standard_normal(5000) + 4]))
    kept = Detect(false_positives=0.02)(candidates, inputs(model=DistanceModel(), real=real), rng=rng)
    assert (kept.rows < 5000).mean() > 0.95
    assert 1 - (kept.rows < 5000).sum() / 5000 == pytest.approx(0.02, abs=0.01)
    assert kept.stats["threshold"] == pytest.approx(2.05, abs=0.1)
    fixed = Detect(threshold=10.0)(candidates, inputs(model=DistanceModel(), real=real), rng=rng)
    assert len(fixed.rows) == 10_000


def test_edited_real_row_no_longer_counts_as_real():
    notes = {"generation": [REAL, REAL, 4], "depth": [0.0, 0.0, 2.0], "source": ["real", "real", "m"], "collected": 4}
    candidates = Pool.of(text=["a", "b", "c"]).note(**notes)
    pool = CurationResult(np.arange(3), edited=Pool.of(text=["a", "B", "C"])).of(candidates)
    assert pool.list("_generation") == [REAL, 4, 4]
    assert pool.list("_depth") == [0.0, 1.0, 2.0]
    assert pool.list("_source") == ["real", "edited", "m"]


def test_curation_result_keeps_the_file_format_of_the_store(tmp_path):
    result = CurationResult(np.array([0, 2]), {"mean_score": 1.5})
    result.save(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["figures.json", "rows.npy"]
    assert (tmp_path / "figures.json").read_text() == '{"mean_score": 1.5}'
    loaded = CurationResult.load(tmp_path)
    assert loaded.rows.tolist() == [0, 2] and loaded.stats == {"mean_score": 1.5} and loaded.edited is None
    CurationResult(np.array([0]), edited=Pool.of(text=["a"])).save(tmp_path)
    assert CurationResult.load(tmp_path).edited.list("text") == ["a"]


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
def test_every_curation_runs_through_the_loop(case, tmp_path):
    config, curations, scorer = LOOPS[case]
    arms = {
        name: {"use": "replace", "synthetic_fraction": 0.5, "curation": {"use": name, **(scorer if name in ("verify", "prune") else {})}}
        for name in curations
    }
    curated = experiment({**config, "size": 20, "eval_size": 10, "seeds": [0], "policies": arms, "data": with_more_rows(config["data"])})
    rows = run(curated, store=tmp_path)
    for name in curations:
        own = rows[(rows.policy == name) & (rows.generation == 2)].set_index("metric").value
        assert own["candidates"] >= 20
        assert 0 < own["kept_share"] <= 1
        assert own["trained_rows/real" if "trained_rows/real" in own else "real_share"] > 0
        assert "candidates" not in set(rows[rows.generation == 3].metric), "the last generation collects no pool"
    assert run(curated, store=tmp_path).equals(rows), "a second run reads the same results from the store"


def with_more_rows(data):
    return {**data, "rows": 400} if isinstance(data, dict) and "rows" in data else data


def test_all_registered_curations_are_tested():
    assert {name for _, curations, _ in LOOPS.values() for name in curations} == set(registered("curation"))


def test_curation_sees_no_notes(tmp_path):
    policies = {"spy": {"use": "replace", "synthetic_fraction": 0.5, "curation": "support.spying_curations:AssertsDataColumnsOnly"}}
    run(experiment({**ANALYTIC, "data": {"use": "gaussian", "rows": 200, "replicates": 2}, "policies": policies}), store=tmp_path)
