"""Watermarks: the test for them is calibrated, finds its own, and finds nothing where nothing is."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from autophagy import load_config, run
from autophagy.common.training.trainer import Training
from autophagy.text.data import Bible
from autophagy.text.lm import CausalLM
from autophagy.text.sampling import Sampling
from autophagy.text.watermark import GreenList, Watermark
from autophagy.vision.data import Digits
from autophagy.vision.watermark import Pattern
from support.tiny import ROOT
from transformers import LlamaConfig, WatermarkDetector

LAST = 2


def test_z_agrees_with_the_detector_of_transformers():
    settings = GreenList(gamma=0.25, delta=2.0)
    ours = Watermark(settings, 200)
    config = {"greenlist_ratio": 0.25, "bias": 2.0, "hashing_key": settings.key, "seeding_scheme": "lefthash", "context_width": 1}
    theirs = WatermarkDetector(LlamaConfig(vocab_size=200, bos_token_id=199), "cpu", config, ignore_repeated_ngrams=True)
    rows = np.random.default_rng(0).integers(0, 50, (20, 60))
    found = theirs(torch.from_numpy(rows), return_dict=True).z_score
    assert np.allclose([ours.z(row.tolist()) for row in rows], found)


def test_green_lists_have_their_share_and_boost_nothing_else():
    watermark = Watermark(GreenList(gamma=0.3, delta=1.5), 1000)
    assert watermark.green(7).sum() == 300 and (watermark.green(7) != watermark.green(8)).any()
    boost = watermark.boost([7, 8])
    assert set(np.unique(boost)) == {1.0, np.exp(1.5)}
    assert ((boost[0] > 1) == watermark.green(7)).all()


def test_z_is_standard_normal_over_keys_where_there_is_no_watermark():
    rows = np.random.default_rng(1).integers(0, 300, (10, 60)).tolist()
    z = [Watermark(GreenList(key=key), 300).z(row) for key in range(1, 41) for row in rows]
    assert np.mean(z) == pytest.approx(0, abs=0.15) and np.std(z) == pytest.approx(1, abs=0.15)
    images = Digits().load(eval_size=50)["heldout"].array("image")
    z = np.array([Pattern(key=key).z_scores(images) for key in range(200)])
    assert np.abs(z.mean(0)).max() < 0.3 and z.var(0).mean() == pytest.approx(1, abs=0.1)
    assert Pattern().z_scores(np.zeros((2, 8, 8, 1), dtype=np.uint8)).tolist() == [0, 0], "black images have no detail"


@pytest.fixture(scope="module")
def embedded(tmp_path_factory):
    """The embedded language model, trained for a quarter of a minute: less than in a run, so of more entropy."""
    model = CausalLM(training=Training(steps=80, batch=16, learning_rate=3e-3), context=128, vocabulary=2048)
    model.fit(Bible(words=110).load(eval_size=200)["base"], seed=0, scratch=Path(tmp_path_factory.mktemp("scratch")))
    return model


@pytest.mark.slow
def test_a_128_token_sample_of_the_language_model_is_found_99_times_in_100_at_1_false_alarm(embedded):
    splits = Bible(words=110).load(eval_size=200)
    embedded.sampling = Sampling(watermark=GreenList(gamma=0.25, delta=2.0))
    generated, other = embedded.sample(200, seed=1), replace(embedded, sampling=Sampling())
    threshold = np.quantile(embedded.detect(splits["heldout"]), 0.99, method="higher")
    long = embedded.tokens(generated) >= 120
    assert long.sum() > 100
    assert (embedded.detect(generated)[long] > threshold).mean() >= 0.99
    assert (embedded.detect(splits["control"]) > threshold).mean() <= 0.02
    assert other.sampling.unbiased
    embedded.sampling = Sampling()
    unmarked = embedded.sample(200, seed=1)
    embedded.sampling = Sampling(watermark=GreenList(gamma=0.25, delta=2.0, key=99))
    assert (embedded.detect(generated) > threshold).mean() < 0.1, "another key finds nothing"
    assert (embedded.detect(unmarked) > threshold).mean() < 0.1, "unmarked samples of the same model are no alarm"


def test_images_carry_it_as_well_as_their_pixels_allow():
    splits = Digits().load(eval_size=300)
    real, heldout = (splits[name].array("image") for name in ("train", "heldout"))
    found = {}
    for size, strength in [(8, 48), (32, 16)]:
        big = [np.kron(images, np.ones((1, size // 8, size // 8, 1))).astype(np.uint8) for images in (real, heldout)]
        pattern = Pattern(strength=strength)
        threshold = np.quantile(pattern.z_scores(big[0]), 0.99)
        assert (pattern.z_scores(big[1]) > threshold).mean() < 0.03
        found[size] = (pattern.z_scores(pattern.mark(big[1])) > threshold).mean()
    assert found[8] > 0.9 and found[32] > 0.99


@pytest.mark.slow
@pytest.mark.parametrize("track", ["text", "vision"])
def test_a_detector_slows_collapse_under_replace_with_half_the_pool_contaminated(track, tmp_path):
    wanted = load_config(ROOT / "configs" / track / "watermark.yaml", [f"generations={LAST}", "seeds=[0]"])
    rows = run(wanted, store=tmp_path).set_index(["policy", "generation", "metric"]).value
    number = "heldout_nll" if track == "text" else "frechet_distance"
    lost = {policy: rows[policy, LAST, number] - rows[policy, 0, number] for policy in wanted.arms}
    assert lost["replace"] > lost["scraped"] > 2 * max(0, lost["scraped-detected"])
    assert rows["scraped", LAST, "trained_rows/real"] == wanted.size / 2
    assert rows["scraped-detected", LAST, "real_share"] > 0.9
    missed = 1 - rows["scraped-detected", 1, "watermark_detected"]
    assert rows["scraped-detected", 1, "kept_share/made"] == pytest.approx(missed, abs=0.05)
