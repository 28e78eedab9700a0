"""Image metrics: correct values, correct direction on blur, noise and copies, and finite values on collapsed pools."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
import torch
from autophagy import experiment, run
from autophagy.common.config.registry import ComponentSpec
from autophagy.common.core.errors import UserError
from autophagy.common.core.pool import Pool
from autophagy.vision.data import Digits
from autophagy.vision.metrics import scales
from scipy.ndimage import gaussian_filter
from scipy.stats import entropy
from support.metric_inputs import measured
from support.tiny import VISION

RNG = np.random.default_rng(0)
NAMES = ("ms-ssim", "inception-score", "tstr-classifier", "sharpness")


@pytest.fixture(scope="module")
def digits():
    return Digits().load(eval_size=200)


def classified(probabilities):
    """Metric inputs: black images to which the classifier assigns these probabilities."""
    return {
        "generated": Pool.of(image=np.zeros((len(probabilities), 8, 8, 1), np.uint8)),
        "features": lambda _: {"probabilities": probabilities},
    }


def bright(pool):
    """A classifier of two classes, dark and bright."""
    light = pool.array("image").reshape(len(pool), -1).mean(1).astype(np.float32) / 255
    return {"features": light[:, None], "probabilities": np.stack([1 - light, light], 1)}


def changed(pool, change):
    """The same labels with other images."""
    return Pool.of(image=change(pool.array("image").astype(float)).clip(0, 255).astype(np.uint8), label=pool.array("label"))


def blurred(pool, sigma=1.0):
    return changed(pool, lambda images: gaussian_filter(images, (0, sigma, sigma, 0)))


def noisy(pool, spread=100):
    return changed(pool, lambda images: images + np.random.default_rng(1).normal(0, spread, images.shape))


def copied(pool, share):
    """A growing share of the images are one and the same."""
    images = pool.array("image").copy()
    images[: int(share * len(images))] = images[-1]
    return Pool.of(image=images, label=pool.array("label"))


# ---- structural similarity ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(("side", "n", "window"), [(4, 1, 3), (8, 1, 7), (16, 1, 11), (28, 2, 11), (32, 2, 11), (64, 3, 11), (256, 5, 11)])
def test_scales_fit_the_image(side, n, window):
    weights, found = scales(side)
    assert (len(weights), found) == (n, window)
    assert sum(weights) == pytest.approx(1)
    pool = Pool.of(image=RNG.integers(0, 256, (2, side, side + 3, 3), dtype=np.uint8))
    assert 0 <= measured("ms-ssim", generated=pool)["ms_ssim"] < 1
    assert measured("ms-ssim", generated=pool.take([0, 0, 0]))["ms_ssim"] == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize(("side", "colours"), [(8, 1), (28, 1), (32, 3)])
def test_multiscale_similarity_agrees_with_a_plain_computation(side, colours):
    """Contrast and structure at every scale but the coarsest, there luminance too, windows by scipy."""
    first = gaussian_filter(RNG.random((side, side, colours)), (1, 1, 0), mode="wrap") * 255
    second = np.clip(first + RNG.normal(0, 10, first.shape), 0, 255)
    images = np.stack([first, second]).astype(np.uint8)
    x, y = images / 255
    weights, window = scales(side)

    def mean(image):
        return gaussian_filter(image, (1.5 * window / 11,) * 2, axes=(0, 1), mode="mirror", radius=window // 2)

    def covariance(a, b):
        return mean(a * b) - mean(a) * mean(b)

    expected = 1.0
    for place, weight in enumerate(weights):
        similar = (2 * covariance(x, y) + 0.03**2) / (covariance(x, x) + covariance(y, y) + 0.03**2)
        if place == len(weights) - 1:
            similar *= (2 * mean(x) * mean(y) + 0.01**2) / (mean(x) ** 2 + mean(y) ** 2 + 0.01**2)
        else:
            inner = slice(window // 2, -(window // 2))
            similar = similar[inner, inner]
            x, y = (image.reshape(len(image) // 2, 2, len(image) // 2, 2, colours).mean((1, 3)) for image in (x, y))
        expected *= similar.mean() ** weight
    assert 0.3 < expected < 0.99
    assert measured("ms-ssim", generated=Pool.of(image=images))["ms_ssim"] == pytest.approx(expected, abs=1e-5)


def test_ms_ssim_uses_all_pairs_or_a_random_subset(digits):
    five = digits["heldout"].slice(0, 5)
    every = [measured("ms-ssim", generated=five.take([a, b]))["ms_ssim"] for a in range(5) for b in range(a)]
    assert measured("ms-ssim", generated=five)["ms_ssim"] == pytest.approx(np.mean(every), abs=1e-6)
    three = measured({"use": "ms-ssim", "pairs": 3}, generated=five)["ms_ssim"]
    assert min(abs(np.mean(some) - three) for some in combinations(every, 3)) < 1e-6
    with pytest.raises(UserError, match="'ms-ssim' compares pairs of images, so it needs at least 2 images, not 1"):
        measured("ms-ssim", generated=five.slice(0, 1))


def test_ms_ssim_rises_as_images_become_copies(digits):
    pools = [copied(digits["heldout"], share) for share in (0, 0.5, 0.9)]
    values = [measured("ms-ssim", generated=generated)["ms_ssim"] for generated in (*pools, digits["heldout"].take([3] * 9))]
    assert values[0] < values[1] < values[2] < values[3] == pytest.approx(1, abs=1e-5)
    assert (
        measured("ms-ssim", generated=noisy(digits["heldout"]))["ms_ssim"]
        < values[0]
        < measured("ms-ssim", generated=blurred(digits["heldout"]))["ms_ssim"]
    )


# ---- classifier score ---------------------------------------------------------------------------------------------


def test_the_classifier_score_counts_classes():
    assert measured("inception-score", **classified(np.eye(4, dtype=np.float32)[[0, 1, 2, 3] * 4]))["classifier_score"] == pytest.approx(4)
    assert measured("inception-score", **classified(np.eye(4, dtype=np.float32)[[0, 0, 1, 1]]))["classifier_score"] == pytest.approx(2)
    assert measured("inception-score", **classified(np.full((16, 4), 0.25, np.float32)))["classifier_score"] == pytest.approx(1)
    drawn = RNG.dirichlet(np.full(5, 0.1), 40).astype(np.float32)
    drawn[:3] = np.eye(5)[:3]
    expected = np.exp(np.mean([entropy(row, drawn.mean(0)) for row in drawn.astype(np.float64)]))
    assert measured("inception-score", **classified(drawn))["classifier_score"] == pytest.approx(expected, rel=1e-6)


def test_the_classifier_score_of_real_digits_is_best(digits, tmp_path):
    model = ComponentSpec.parse("features", {"use": "classifier", "training": {"steps": 200}}).build()
    model.fit(digits["train"], seed=0, scratch=tmp_path)
    rows = [digits["control"], copied(digits["control"], 0.5), copied(digits["control"], 0.9)]
    real, half, most = (measured("inception-score", generated=generated, features=model)["classifier_score"] for generated in rows)
    assert 10 > real > half > most >= 1
    assert measured("inception-score", generated=blurred(digits["control"], 3), features=model)["classifier_score"] < real


@pytest.mark.parametrize("name", ["inception-score", "tstr-classifier"])
def test_feature_model_without_probabilities_is_rejected(name, digits):
    rows = digits["heldout"].only(["image"])
    with pytest.raises(UserError, match=f"metrics: '{name}' needs a feature model that gives class probabilities"):
        measured(name, generated=rows, heldout=digits["heldout"], real=rows, features=lambda _: {"features": np.zeros((200, 2))})


# ---- TSTR ---------------------------------------------------------------------------------------------------------


def two_kinds(labels):
    """Dark (0) and bright (1) images with a little noise, 20 of each; `labels` holds the label column, if any."""
    images = np.repeat([40, 200], 20)[:, None, None, None] + RNG.integers(0, 30, (40, 4, 4, 1))
    return Pool.of(image=images.astype(np.uint8), **labels)


def test_tstr_learns_generated_labels_only_if_generators_make_them():
    truth = np.repeat([0, 1], 20)
    heldout, swapped = two_kinds({"label": truth}), two_kinds({"label": 1 - truth})
    bare, control = two_kinds({}), two_kinds({"label": 1 - truth})
    assert measured("tstr-classifier", generated=swapped, heldout=heldout, real=swapped, features=bright)["student_accuracy"] == 0
    assert measured("tstr-classifier", generated=bare, heldout=heldout, real=bare, features=bright)["student_accuracy"] == 1
    floor = measured("tstr-classifier", generated=control, heldout=heldout, real=bare, features=bright)
    assert floor["student_accuracy"] == 1, "the floor and generated rows are labelled by the same feature model"


def test_tstr_with_one_class_predicts_that_class():
    heldout = two_kinds({"label": np.repeat([0, 1, 1, 1], 10)})
    generated = two_kinds({"label": np.ones(40, np.int64)})
    assert measured("tstr-classifier", generated=generated, heldout=heldout, real=generated, features=bright)["student_accuracy"] == 0.75


def test_tstr_accuracy_falls_for_degraded_images(digits):
    def accuracy(generated):
        return measured("tstr-classifier", generated=generated, heldout=digits["heldout"], real=digits["train"], features=bright)[
            "student_accuracy"
        ]

    real = accuracy(digits["control"])
    assert real > 0.85
    assert real > accuracy(copied(digits["control"], 0.5)) > accuracy(copied(digits["control"], 0.95))
    assert real > accuracy(noisy(digits["control"], 300))
    assert real > accuracy(blurred(digits["control"], 3))


def test_tstr_does_not_warn_if_it_has_not_converged(digits):
    parts = {"generated": digits["control"], "heldout": digits["heldout"], "real": digits["train"], "features": bright}
    short, long = (measured({"use": "tstr-classifier", "iterations": steps}, **parts)["student_accuracy"] for steps in (1, 100))
    assert short < long


def test_tstr_needs_labels(digits):
    bare = digits["heldout"].only(["image"])
    with pytest.raises(UserError, match="'tstr-classifier' needs labelled images, but this data has no labels; remove the metric"):
        measured("tstr-classifier", generated=bare, heldout=bare, real=bare, features=bright)


# ---- sharpness ----------------------------------------------------------------------------------------------------


def test_sharpness_of_a_dot_and_of_a_slope():
    dot = np.zeros((1, 5, 5, 3), np.uint8)
    dot[0, 2, 2] = 255  # its Laplacian is -4 there, 1 at its four neighbours, 0 at the other twenty
    assert measured("sharpness", generated=Pool.of(image=dot))["sharpness"] == pytest.approx((16 + 4) / 25)
    both = np.concatenate([dot, np.zeros_like(dot)])
    assert measured("sharpness", generated=Pool.of(image=both))["sharpness"] == pytest.approx((16 + 4) / 25 / 2)


def test_blur_lowers_sharpness_and_noise_raises_it(digits):
    real, blur, more, noise = (
        measured("sharpness", generated=generated)["sharpness"]
        for generated in (digits["heldout"], blurred(digits["heldout"], 0.7), blurred(digits["heldout"], 2), noisy(digits["heldout"]))
    )
    assert more < blur < real < noise
    assert measured("sharpness", generated=digits["control"])["sharpness"] == pytest.approx(real, rel=0.1)


# ---- all of them --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("colours", [1, 3])
@pytest.mark.parametrize("side", [4, 8, 28, 32])
def test_metrics_are_finite_on_collapsed_pools(name, colours, side):
    shape = (20, side, side, colours)
    heldout = Pool.of(image=RNG.integers(0, 256, shape, dtype=np.uint8), label=np.arange(20) % 2)
    equal = np.repeat(heldout.array("image")[:1], 20, axis=0)
    nearly = equal.copy()
    nearly[0, 0, 0] ^= 1
    for images in (np.zeros(shape, np.uint8), np.full(shape, 255, np.uint8), equal, nearly):
        for labels in (np.zeros(20, np.int64), np.arange(20) % 2):
            generated = Pool.of(image=images, label=labels)
            found = measured(name, generated=generated, heldout=heldout, real=generated, features=bright)
            assert np.isfinite(list(found.values())).all()


@pytest.mark.parametrize("name", NAMES)
def test_metrics_are_deterministic_and_keep_global_random_state(name, digits):
    parts = {"generated": digits["control"], "heldout": digits["heldout"], "real": digits["train"], "features": bright}
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].tolist()
    first = measured(name, **parts)
    assert torch.equal(torch.get_rng_state(), torch_state) and np.random.get_state()[1].tolist() == numpy_state
    with torch.random.fork_rng():
        torch.manual_seed(1)
        assert measured(name, **parts) == first


@pytest.mark.parametrize("labels", ["none", "conditional"])
def test_metrics_are_measured_in_a_run(labels, tmp_path):
    wanted = {**VISION, "metrics": list(NAMES), "labels": labels, "policies": ["replace"], "seeds": [0], "generations": 1}
    rows = run(experiment(wanted), store=tmp_path)
    found = rows[rows.metric.isin(["ms_ssim", "classifier_score", "student_accuracy", "sharpness"])]
    assert len(found) == 8 and np.isfinite(found[["value", "floor"]].to_numpy()).all()
