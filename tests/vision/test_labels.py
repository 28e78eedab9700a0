"""Labelled image generators: labels stay with their images, and rare classes may be missing."""

from __future__ import annotations

import numpy as np
import pytest
from autophagy import experiment, run
from autophagy.common.config.registry import ComponentSpec
from autophagy.common.core.pool import Pool
from autophagy.vision.labels import shares_of
from support.tiny import TINY, VISION


def labelled(counts) -> Pool:
    labels = np.repeat(np.arange(len(counts)), counts)
    return Pool.of(x=np.arange(len(labels)), label=labels)


@pytest.mark.parametrize("generator", ["vae", "gmm", "diffusion"])
def test_conditional_generators_run_through_the_loop(generator, tmp_path):
    conditional = experiment({**VISION, "labels": "conditional", "generator": TINY[generator], "policies": ["replace"], "seeds": [0]})
    rows = run(conditional, store=tmp_path)
    assert set(rows.generation) == {0, 1, 2, 3}


@pytest.mark.parametrize("generator", ["vae", "gmm", "diffusion"])
def test_class_missing_in_first_pool_may_appear_later(generator, tmp_path):
    """Twelve rows cannot hold all ten classes; unseen real rows add the others."""
    arms = {"scraped": {"use": "replace", "synthetic_fraction": 0.5}, "fresh": {"use": "real-fresh"}}
    config = {**VISION, "labels": "conditional", "generator": TINY[generator], "policies": arms, "seeds": [0], "init": "previous"}
    rows = run(experiment({**config, "size": 12, "eval_size": 10, "metrics": ["pixel-variance"]}), store=tmp_path)
    assert set(rows.generation) == {0, 1, 2, 3}


def test_conditional_model_generates_the_labelled_class(tmp_path):
    """All images of class k have grey level 60 k, so the pixels of a generated row show its class."""
    labels = np.random.default_rng(0).integers(0, 4, 400)
    images = np.broadcast_to(60 * labels[:, None, None, None], (400, 8, 8, 1)).astype(np.uint8)
    for settings in (
        TINY["gmm"],
        {"use": "vae", "latent": 2, "hidden": 32, "training": {"steps": 400, "batch": 64, "learning_rate": 5e-3}},
    ):
        model = ComponentSpec.parse("generator", settings).build()
        model.fit(Pool.of(image=images, label=labels), seed=0, scratch=tmp_path)
        generated = model.sample(300, seed=1)
        shown_class = np.round(generated.array("image").mean((1, 2, 3)) / 60)
        assert (shown_class == generated.array("label")).mean() > 0.95, settings["use"]
        assert np.bincount(generated.array("label"), minlength=4) == pytest.approx(300 * np.bincount(labels) / 400, abs=30)


def test_vanished_class_keeps_its_position():
    assert shares_of(labelled([3, 0, 1]), classes=5).tolist() == [0.75, 0, 0.25, 0, 0]
    assert shares_of(Pool.of(x=np.arange(2)), classes=3) is None
