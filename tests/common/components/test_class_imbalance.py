"""Long tails and labels: how rare classes are made, and what is said of them."""

from __future__ import annotations

import numpy as np
import pytest
from autophagy import UserError, experiment, run
from autophagy.common.components.class_imbalance import ClassImbalance, long_tailed
from autophagy.common.components.frequency_bins import by_frequency
from autophagy.common.core.pool import Pool
from autophagy.common.loop.stages import Stages
from autophagy.common.store import Store
from autophagy.vision.labels import shares_of
from support.tiny import TINY, VISION


def labelled(counts) -> Pool:
    labels = np.repeat(np.arange(len(counts)), counts)
    return Pool.of(x=np.arange(len(labels)), label=labels)


@pytest.mark.parametrize("shape", ["exponential", "zipf"])
def test_shares_fall_to_one_over_the_ratio(shape):
    shares = ClassImbalance(10, shape).shares(3)
    assert shares[0] == 1 and shares[-1] == pytest.approx(0.1)
    assert shares[1] == pytest.approx(10**-0.5 if shape == "exponential" else 2 ** (-np.log(10) / np.log(3)))
    assert ClassImbalance(1, shape).shares(4).tolist() == [1, 1, 1, 1]


def test_a_long_tail_keeps_as_many_rows_as_the_data_allows():
    pool = labelled([100, 100, 100])
    tailed = long_tailed(pool, ClassImbalance(10))
    assert np.bincount(tailed.array("label")).tolist() == [100, 31, 10]
    assert long_tailed(pool, ClassImbalance(10)).digest == tailed.digest
    assert np.bincount(long_tailed(labelled([50, 100, 100]), ClassImbalance(10)).array("label")).tolist() == [50, 15, 5]
    with pytest.raises(UserError, match="imbalance: with a ratio of 1000, class 2 would have no row of the 300"):
        long_tailed(pool, ClassImbalance(1000))
    with pytest.raises(UserError, match="this data has no labels"):
        long_tailed(Pool.of(x=np.arange(3)), ClassImbalance(2))


def test_every_split_is_long_tailed_and_the_feature_model_sees_no_measured_row(tmp_path):
    stages = Stages(experiment({**VISION, "imbalance": 5, "size": 100, "eval_size": 40}), Store(tmp_path))
    rows = {name: set(stages.real.splits[name].row_digests()) for name in ("train", "heldout", "control", "features")}
    assert not rows["features"] & (rows["heldout"] | rows["control"])
    assert rows["train"] <= rows["features"]
    assert np.bincount(stages.real.splits["train"].array("label")).argmin() == 9
    balanced = np.bincount(stages.real.splits["features"].array("label"))
    assert balanced.max() / balanced.min() < 1.5, "a yardstick for rare classes must have seen them"


def test_numbers_by_frequency_say_what_vanished():
    real = {"a": 50, "b": 30, "c": 15, "d": 5}
    same = by_frequency(real, real, by_mass=False)
    assert all(value == pytest.approx(1) for value in same.values())
    gone = by_frequency(real, {"a": 200}, by_mass=False)
    assert [gone[f"frequency_ratio/{n:02}"] for n in (1, 2, 3, 4)] == [2, 0, 0, 0]
    assert [gone[f"frequency_recall/{n:02}"] for n in (1, 2, 3, 4)] == [1, 0, 0, 0]
    nothing = by_frequency(real, {}, by_mass=True)
    assert all(value == 0 for value in nothing.values())


def test_by_mass_every_group_holds_a_tenth_of_what_is_real():
    rng = np.random.default_rng(0)
    real = {f"w{rank}": int(20_000 / (rank + 1)) + 1 for rank in range(3000)}
    kinds, chances = list(real), np.array(list(real.values())) / sum(real.values())
    sample = dict(zip(*np.unique(rng.choice(kinds, 50_000, p=chances), return_counts=True), strict=True))
    found = by_frequency(real, sample, by_mass=True)
    ratios = [value for name, value in found.items() if "ratio" in name]
    assert len(ratios) >= 8 and np.allclose(ratios, 1, atol=0.1)
    recalls = [value for name, value in sorted(found.items()) if "recall" in name]
    assert recalls[0] == 1 > recalls[-1], "what is rare is missed first"


@pytest.mark.parametrize("generator", ["vae", "gmm", "diffusion"])
def test_labelled_generators_keep_labels_and_images_together_round_the_loop(generator, tmp_path):
    wanted = experiment({**VISION, "labels": "conditional", "generator": TINY[generator], "policies": ["replace"], "seeds": [0]})
    rows = run(wanted, store=tmp_path)
    assert set(rows.generation) == {0, 1, 2, 3}


@pytest.mark.parametrize("generator", ["vae", "gmm", "diffusion"])
def test_a_class_that_the_first_pool_lacks_may_come_later(generator, tmp_path):
    """Twelve rows do not hold ten classes; unseen real rows bring the others."""
    arms = {"scraped": {"use": "replace", "synthetic_fraction": 0.5}, "fresh": {"use": "real-fresh"}}
    written = {**VISION, "labels": "conditional", "generator": TINY[generator], "policies": arms, "seeds": [0], "init": "previous"}
    rows = run(experiment({**written, "size": 12, "eval_size": 10, "metrics": ["pixel-variance"]}), store=tmp_path)
    assert set(rows.generation) == {0, 1, 2, 3}


def test_a_conditional_model_makes_the_class_it_names(tmp_path):
    """Images of class k are all of grey level 60 k: the label a row comes with is the class its pixels show."""
    from autophagy.common.config.registry import ComponentSpec

    labels = np.random.default_rng(0).integers(0, 4, 400)
    images = np.broadcast_to(60 * labels[:, None, None, None], (400, 8, 8, 1)).astype(np.uint8)
    for written in (TINY["gmm"], {"use": "vae", "latent": 2, "hidden": 32, "training": {"steps": 400, "batch": 64, "learning_rate": 5e-3}}):
        model = ComponentSpec.parse("generator", written).build()
        model.fit(Pool.of(image=images, label=labels), seed=0, scratch=tmp_path)
        generated = model.sample(300, seed=1)
        shown = np.round(generated.array("image").mean((1, 2, 3)) / 60)
        assert (shown == generated.array("label")).mean() > 0.95, written["use"]
        assert np.bincount(generated.array("label"), minlength=4) == pytest.approx(300 * np.bincount(labels) / 400, abs=30)


def test_a_class_that_vanished_keeps_its_place():
    assert shares_of(labelled([3, 0, 1]), classes=5).tolist() == [0.75, 0, 0.25, 0, 0]
    assert shares_of(Pool.of(x=np.arange(2)), classes=3) is None
