"""Metrics: right values against other implementations, right direction on degraded data, finite on collapsed data."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from autophagy.common.components.distances import (
    density_coverage,
    effective_rank,
    frechet_distance,
    kernel_distance,
    precision_recall,
    vendi_score,
)
from autophagy.common.components.metric import info_of
from autophagy.common.config.registry import ComponentSpec, registered
from autophagy.common.core.pool import Pool
from autophagy.text.words import words
from sklearn.neighbors import NearestNeighbors
from support.metric_inputs import ConstantModel, degraded_images, degraded_text, features_of, inputs, measured
from support.tiny import ROOT, small_pool
from torchmetrics.image.kid import maximum_mean_discrepancy, poly_kernel

RNG = np.random.default_rng(0)


# ---- values -------------------------------------------------------------------------------------------------------


def test_frechet_distance_agrees_with_the_formula_and_scipys_matrix_root():
    a, b = RNG.standard_normal((300, 6)), RNG.standard_normal((200, 6)) @ RNG.standard_normal((6, 6)) + 1
    root = scipy.linalg.sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_precision_and_recall_agree_with_a_plain_nearest_neighbour_search():
    generated, real = RNG.standard_normal((60, 4)) * 0.7, RNG.standard_normal((80, 4))

    def inside(points, manifold, k=3):
        radius = NearestNeighbors(n_neighbors=k + 1).fit(manifold).kneighbors(manifold)[0][:, k]
        return np.mean([(np.linalg.norm(manifold - point, axis=1) <= radius).any() for point in points])

    assert precision_recall(generated, real) == pytest.approx((inside(generated, real), inside(real, generated)))
    assert precision_recall(real, real) == (1.0, 1.0)


def test_kernel_distance_is_torchmetrics_kid_on_all_pairs():
    a, b = RNG.standard_normal((50, 8)), RNG.standard_normal((50, 8)) + 0.3
    expected = maximum_mean_discrepancy(
        *(poly_kernel(*map(torch.from_numpy, pair), degree=3, gamma=1 / 8, coef=1) for pair in [(a, a), (a, b), (b, b)])
    )
    assert kernel_distance(a, b) == pytest.approx(expected.item(), rel=1e-9)


def test_kernel_distance_of_equal_distributions_is_0_at_any_size_and_frechet_is_not():
    """Real against real: the mean over 60 draws, within 4 standard errors of 0."""
    for n in (20, 80):
        pairs = [(RNG.standard_normal((n, 16)), RNG.standard_normal((n, 16))) for _ in range(60)]
        kernel = np.array([kernel_distance(a, b) for a, b in pairs])
        assert abs(kernel.mean()) < 4 * kernel.std() / np.sqrt(60)
    small, large = (np.mean([frechet_distance(*RNG.standard_normal((2, n, 16))) for _ in range(10)]) for n in (20, 80))
    assert small > 2 * large > 0.5


def test_density_and_coverage_agree_with_counting():
    generated, real, k = RNG.standard_normal((40, 3)) * 0.5, RNG.standard_normal((60, 3)), 5
    radius = NearestNeighbors(n_neighbors=k + 1).fit(real).kneighbors(real)[0][:, k]
    inside = np.array(
        [[np.linalg.norm(point - centre) <= reach for centre, reach in zip(real, radius, strict=True)] for point in generated]
    )
    assert density_coverage(generated, real) == pytest.approx((inside.sum() / (k * 40), inside.any(0).mean()))
    assert density_coverage(real, real)[1] == 1.0


def test_vendi_score_and_effective_rank_count():
    assert vendi_score(np.eye(7)) == pytest.approx(7)
    assert vendi_score(np.ones((9, 4))) == pytest.approx(1)
    assert vendi_score(np.repeat(np.eye(3), 5, axis=0)) == pytest.approx(3), "five copies of three rows are three rows"
    x = RNG.standard_normal((50, 6))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    eigenvalues = np.linalg.eigvalsh(unit @ unit.T / 50)
    some = eigenvalues[eigenvalues > 1e-12]
    assert vendi_score(x) == pytest.approx(np.exp(-(some * np.log(some)).sum()))
    assert effective_rank(np.ones((5, 3))) == 0
    assert effective_rank(np.outer(RNG.standard_normal(20), [1, 2, 3])) == pytest.approx(1)
    orthogonal = np.concatenate([np.eye(4), -np.eye(4)])
    assert effective_rank(orthogonal) == pytest.approx(4)


def test_memorised_rows_are_nearer_to_what_was_trained_on():
    real, heldout = (Pool.of(image=RNG.integers(0, 256, (60, 4, 4, 1), dtype=np.uint8)) for _ in range(2))
    other = Pool.of(image=RNG.integers(0, 256, (60, 4, 4, 1), dtype=np.uint8))
    noisy = Pool.of(image=np.clip(real.array("image").astype(int) + 3, 0, 255).astype(np.uint8))
    rows = {"heldout": heldout, "real": real, "pool": real, "features": features_of}
    fresh, near, copied = (measured("memorisation", generated=generated, **rows) for generated in (other, noisy, real))
    assert fresh["nearest_ratio"] == pytest.approx(1, abs=0.1) and fresh["copies"] == 0
    assert near["nearest_ratio"] < 0.3 and near["copies"] == 0
    assert copied["copies"] == 1


def test_text_numbers_worked_out_by_hand():
    generated = Pool.of(text=["the cat the cat", "A dog, it's"])
    found = measured("distinct", generated=generated)
    assert words("A dog, it's über_x 1") == ["a", "dog", "it's", "über", "x", "1"]
    assert found["distinct_1"] == pytest.approx(5 / 7)
    assert found["distinct_2"] == pytest.approx(4 / 5)
    assert found["distinct_3"] == pytest.approx(3 / 3)
    found = measured("vocabulary", generated=generated, real=Pool.of(text=["the the the dog", "cow pig cat cat"]))
    assert found["vocabulary_kept"] == pytest.approx(3 / 5)
    assert found["rare_recall"] == pytest.approx(2 / 4)
    shares = np.array([2, 2, 1, 1, 1]) / 7
    assert found["word_entropy"] == pytest.approx(-(shares * np.log(shares)).sum())


def test_bits_per_byte_and_perplexity():
    heldout = Pool.of(text=["één twee", "drie"])
    found = measured("perplexity", model=ConstantModel(2.0), heldout=heldout)
    assert found["heldout_nll"] == pytest.approx(2.0)
    assert found["heldout_perplexity"] == pytest.approx(np.exp(2.0))
    assert found["bits_per_byte"] == pytest.approx(3 * 2.0 / np.log(2) / (10 + 4))


def test_pixel_variance_and_classes():
    images = np.zeros((4, 2, 2, 1), np.uint8)
    images[:2] = 255
    pool = Pool.of(image=images)
    assert measured("pixel-variance", generated=pool)["pixel_variance"] == pytest.approx(0.25)
    found = measured("classes", generated=pool, features=features_of)
    assert found["class_entropy"] == pytest.approx(np.log(2))
    assert found["class_share/0"] == found["class_share/1"] == 0.5


# ---- direction ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        *("distinct", "vocabulary", "frechet", "classes", "pixel-variance", "perplexity"),
        *("kernel-distance", "density-coverage", "vendi", "held-out-score"),
    ],
)
def test_worse_data_scores_worse(name):
    instance = ComponentSpec.parse("metric", name).build()
    levels = []
    for share in (0.0, 0.5, 0.9):
        text = instance.reads and not {"features"} & set(instance.reads) and name != "pixel-variance"
        generated = degraded_text(share) if text else degraded_images(share)
        heldout = small_pool("text", 60) if text else degraded_images(0)
        levels.append(
            measured(
                name,
                generated=generated,
                heldout=heldout,
                real=small_pool("text", 60),
                features=features_of,
                model=ConstantModel(1 + share),
            )
        )
    judged = 0
    for metric in levels[0]:
        meaning = info_of(instance, metric)
        if meaning.higher_is_better is None:
            continue
        good, bad, worse = (level[metric] if meaning.higher_is_better else -level[metric] for level in levels)
        assert good >= bad >= worse, metric
        judged += good > worse
    assert judged >= 1


def test_recall_falls_when_data_contract_and_precision_when_they_spread():
    real, other = RNG.standard_normal((200, 4)), RNG.standard_normal((200, 4))
    precision, recall = zip(*(precision_recall(scale * other, real) for scale in (1.0, 0.5, 0.2)), strict=True)
    assert recall[0] > recall[1] > recall[2]
    assert precision[2] >= precision[0]
    precision, recall = zip(*(precision_recall(scale * other, real) for scale in (1.0, 2.0, 4.0)), strict=True)
    assert precision[0] > precision[1] > precision[2]


def test_every_metric_says_what_its_numbers_mean():
    for name, point in registered("metric").items():
        metric = point.load()
        assert metric.__doc__, name
        for measure in metric.outputs.values():
            assert measure.unit, name
            assert measure.source, name
            assert measure.axis in ("fidelity", "diversity", "tail", "memorisation", "likelihood", "mixture", "cost")


# ---- collapse -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("text", ["the", "", "\n", "a " * 500])
def test_text_metrics_stay_finite_on_a_collapsed_pool(text):
    generated, real = Pool.of(text=[text] * 20), small_pool("text")
    assert np.isfinite(list(measured("distinct", generated=generated).values())).all()
    assert np.isfinite(list(measured("vocabulary", generated=generated, real=real).values())).all()


def test_image_metrics_stay_finite_on_black_images():
    generated = Pool.of(image=np.zeros((20, 4, 4, 1), np.uint8))
    names = ("frechet", "precision-recall", "classes", "pixel-variance", "kernel-distance", "density-coverage", "vendi", "memorisation")
    for name in names:
        real = degraded_images(0)
        found = measured(name, generated=generated, heldout=real, real=real, pool=real, features=features_of)
        assert np.isfinite(list(found.values())).all(), name


def test_a_metric_sees_only_what_it_says_it_reads():
    with pytest.raises(AttributeError, match=r"test reads the input 'train', but its `reads` names \['generated'\]"):
        _ = inputs(generated=1).train


def test_the_docs_list_every_number_with_its_axis_and_unit():
    page = (ROOT / "docs" / "metrics.md").read_text()
    for name, point in registered("metric").items():
        assert f"\n| `{name}` |" in page, f"{name} is not in docs/metrics.md"
        for number, measure in point.load().outputs.items():
            if not number.endswith("_se"):
                found = [line for line in page.splitlines() if f"| `{number}" in line and f"`{name}`" in line]
                assert any(f"| {measure.axis} |" in line and f"| {measure.unit} |" in line for line in found), f"{number} of {name}"
