"""The green-list watermark: its test is calibrated, agrees with transformers, and detects samples of a language model."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from autophagy.common.core.pool import Pool
from autophagy.common.training.settings import Training
from autophagy.text.data import Bible
from autophagy.text.lm import CausalLM
from autophagy.text.ngram import NGram
from autophagy.text.sampling import Sampling
from autophagy.text.watermark import GreenList, Watermark
from transformers import LlamaConfig, WatermarkDetector


def test_z_agrees_with_the_detector_of_transformers():
    settings = GreenList(gamma=0.25, delta=2.0)
    watermark = Watermark(settings, 200)
    config = {"greenlist_ratio": 0.25, "bias": 2.0, "hashing_key": settings.key, "seeding_scheme": "lefthash", "context_width": 1}
    detector = WatermarkDetector(LlamaConfig(vocab_size=200, bos_token_id=199), "cpu", config, ignore_repeated_ngrams=True)
    rows = np.random.default_rng(0).integers(0, 50, (20, 60))
    expected = detector(torch.from_numpy(rows), return_dict=True).z_score
    assert np.allclose(watermark.z_scores(rows.tolist()), expected)


def test_green_lists_have_the_right_size_and_only_they_are_boosted():
    watermark = Watermark(GreenList(gamma=0.3, delta=1.5), 1000)
    assert watermark.green(7).sum() == 300 and (watermark.green(7) != watermark.green(8)).any()
    boost = watermark.boost([7, 8])
    assert set(np.unique(boost)) == {1.0, np.exp(1.5)}
    assert ((boost[0] > 1) == watermark.green(7)).all()


@pytest.mark.slow
def test_z_of_unmarked_rows_is_standard_normal_over_keys():
    rows = np.random.default_rng(1).integers(0, 300, (10, 60)).tolist()
    z = [z for key in range(1, 41) for z in Watermark(GreenList(key=key), 300).z_scores(rows)]
    assert np.mean(z) == pytest.approx(0, abs=0.15) and np.std(z) == pytest.approx(1, abs=0.15)


def test_detection_needs_the_watermark_setting(tmp_path):
    model = NGram(vocabulary=300)
    model.fit(Pool.of(text=["in the beginning was the word"] * 3), seed=0, scratch=tmp_path)
    with pytest.raises(ValueError, match=r"sampling\.watermark is not set"):
        model.detect(Pool.of(text=["the word"]))


@pytest.fixture(scope="module")
def language_model(tmp_path_factory):
    """The default language model, trained for 15 seconds. That is less than in a run, so its samples have more entropy."""
    model = CausalLM(training=Training(steps=80, batch=16, learning_rate=3e-3), context=128, vocabulary=2048)
    model.fit(Bible(words=110).load(eval_size=200)["base"], seed=0, scratch=Path(tmp_path_factory.mktemp("scratch")))
    return model


@pytest.mark.slow
def test_128_tokens_are_detected_with_99_percent_power_at_1_percent(language_model):
    """At most 1 % false positives on held-out rows, and at most 2 % on control rows."""
    splits = Bible(words=110).load(eval_size=200)
    language_model.sampling = Sampling(watermark=GreenList(gamma=0.25, delta=2.0))
    generated = language_model.sample(200, seed=1)
    threshold = np.quantile(language_model.detect(splits["heldout"]), 0.99, method="higher")
    long = language_model.tokens(generated) >= 120
    assert long.sum() > 100
    assert (language_model.detect(generated)[long] > threshold).mean() >= 0.99
    assert (language_model.detect(splits["control"]) > threshold).mean() <= 0.02
    language_model.sampling = Sampling()
    unmarked = language_model.sample(200, seed=1)
    language_model.sampling = Sampling(watermark=GreenList(gamma=0.25, delta=2.0, key=99))
    assert (language_model.detect(generated) > threshold).mean() < 0.1, "another key detects the watermark"
    assert (language_model.detect(unmarked) > threshold).mean() < 0.1, "unmarked samples of the same model are detected"
