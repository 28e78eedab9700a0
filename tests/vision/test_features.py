"""Feature models for images."""

from __future__ import annotations

import numpy as np
import pytest
from autophagy import UserError
from autophagy.vision.data import Digits
from autophagy.vision.features import Classifier, Inception, Pixels
from support.tiny import small_pool


def test_feature_models_have_the_documented_shapes(tmp_path):
    pool = small_pool("vision", 30)
    assert Pixels()(pool)["features"].shape == (30, 64)
    classifier = Classifier(features=8)
    classifier.fit(pool, seed=0, scratch=tmp_path)
    outputs = classifier(pool)
    assert outputs["features"].shape == (30, 8)
    assert outputs["probabilities"].sum(1) == pytest.approx(np.ones(30), abs=1e-5)


def test_classifier_needs_labels(tmp_path):
    with pytest.raises(UserError, match="features: 'classifier' needs labelled images, but this data has no labels; use features=pixels"):
        Classifier().fit(small_pool("vision", 30).only(["image"]), seed=0, scratch=tmp_path)


def test_classifier_recognises_digits(tmp_path):
    splits = Digits().load(eval_size=400)
    classifier = Classifier()
    classifier.fit(splits["train"], seed=0, scratch=tmp_path)
    correct = classifier(splits["heldout"])["probabilities"].argmax(1) == splits["heldout"].array("label")
    assert correct.mean() > 0.95


def test_inception_without_its_weights_raises_an_error_that_names_them(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    import torch

    def unreachable(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", unreachable)
    monkeypatch.setattr("torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", unreachable, raising=False)
    with pytest.raises(UserError, match="features: the weights of Inception (cannot be loaded|are missing)"):
        Inception().fit(small_pool("vision"), seed=0, scratch=tmp_path)
