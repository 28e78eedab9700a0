"""Metrics: values computed by hand, worse values on degraded data, finite values on collapsed data."""

from __future__ import annotations

import numpy as np
import pytest
from autophagy.common.components.metric import info_of
from autophagy.common.config.registry import ComponentSpec
from autophagy.common.core.pool import Pool
from autophagy.text.words import words
from support.metric_inputs import ConstantModel, degraded_images, degraded_text, features_of, measured
from support.tiny import small_pool

RNG = np.random.default_rng(0)


# ---- values -------------------------------------------------------------------------------------------------------


def test_memorised_rows_are_nearer_to_training_rows():
    real, heldout = (Pool.of(image=RNG.integers(0, 256, (60, 4, 4, 1), dtype=np.uint8)) for _ in range(2))
    other = Pool.of(image=RNG.integers(0, 256, (60, 4, 4, 1), dtype=np.uint8))
    noisy = Pool.of(image=np.clip(real.array("image").astype(int) + 3, 0, 255).astype(np.uint8))
    rows = {"heldout": heldout, "real": real, "pool": real, "features": features_of}
    fresh, near, copied = (measured("memorisation", generated=generated, **rows) for generated in (other, noisy, real))
    assert fresh["nearest_ratio"] == pytest.approx(1, abs=0.1) and fresh["copies"] == 0
    assert near["nearest_ratio"] < 0.3 and near["copies"] == 0
    assert copied["copies"] == 1


def test_text_metrics_equal_values_computed_by_hand():
    generated = Pool.of(text=["the cat the cat", "A dog, it's"])
    values = measured("distinct", generated=generated)
    assert words("A dog, it's über_x 1") == ["a", "dog", "it's", "über", "x", "1"]
    assert values["distinct_1"] == pytest.approx(5 / 7)
    assert values["distinct_2"] == pytest.approx(4 / 5)
    assert values["distinct_3"] == pytest.approx(3 / 3)
    values = measured("vocabulary", generated=generated, real=Pool.of(text=["the the the dog", "cow pig cat cat"]))
    assert values["vocabulary_kept"] == pytest.approx(3 / 5)
    assert values["rare_recall"] == pytest.approx(2 / 4)
    shares = np.array([2, 2, 1, 1, 1]) / 7
    assert values["word_entropy"] == pytest.approx(-(shares * np.log(shares)).sum())


def test_bits_per_byte_and_perplexity():
    heldout = Pool.of(text=["één twee", "drie"])
    values = measured("perplexity", model=ConstantModel(2.0), heldout=heldout)
    assert values["heldout_nll"] == pytest.approx(2.0)
    assert values["heldout_perplexity"] == pytest.approx(np.exp(2.0))
    assert values["bits_per_byte"] == pytest.approx(3 * 2.0 / np.log(2) / (10 + 4))


def test_pixel_variance_and_classes():
    images = np.zeros((4, 2, 2, 1), np.uint8)
    images[:2] = 255
    pool = Pool.of(image=images)
    assert measured("pixel-variance", generated=pool)["pixel_variance"] == pytest.approx(0.25)
    values = measured("classes", generated=pool, features=features_of)
    assert values["class_entropy"] == pytest.approx(np.log(2))
    assert values["class_share/0"] == values["class_share/1"] == 0.5


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
    strictly_ordered = 0
    for metric in levels[0]:
        info = info_of(instance, metric)
        if info.higher_is_better is None:
            continue
        good, bad, worse = (level[metric] if info.higher_is_better else -level[metric] for level in levels)
        assert good >= bad >= worse, metric
        strictly_ordered += good > worse
    assert strictly_ordered >= 1


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
        values = measured(name, generated=generated, heldout=real, real=real, pool=real, features=features_of)
        assert np.isfinite(list(values.values())).all(), name
