"""Class imbalance: class sizes of long-tailed data, and the splits cut from it."""

from __future__ import annotations

import numpy as np
import pytest
from autophagy import UserError, experiment
from autophagy.common.components.class_imbalance import ClassImbalance, long_tailed
from autophagy.common.core.pool import Pool
from autophagy.common.loop.stages import Stages
from autophagy.common.store import Store
from support.tiny import VISION


def labelled(counts) -> Pool:
    labels = np.repeat(np.arange(len(counts)), counts)
    return Pool.of(x=np.arange(len(labels)), label=labels)


@pytest.mark.parametrize("shape", ["exponential", "zipf"])
def test_class_shares_fall_to_one_over_ratio(shape):
    shares = ClassImbalance(10, shape).shares(3)
    assert shares[0] == 1 and shares[-1] == pytest.approx(0.1)
    assert shares[1] == pytest.approx(10**-0.5 if shape == "exponential" else 2 ** (-np.log(10) / np.log(3)))
    assert ClassImbalance(1, shape).shares(4).tolist() == [1, 1, 1, 1]


def test_long_tail_is_as_large_as_possible():
    pool = labelled([100, 100, 100])
    subset = long_tailed(pool, ClassImbalance(10))
    assert np.bincount(subset.array("label")).tolist() == [100, 31, 10]
    assert long_tailed(pool, ClassImbalance(10)).digest == subset.digest
    assert np.bincount(long_tailed(labelled([50, 100, 100]), ClassImbalance(10)).array("label")).tolist() == [50, 15, 5]
    with pytest.raises(UserError, match="imbalance: with a ratio of 1000, class 2 would have 0 of 300 rows; decrease the ratio"):
        long_tailed(pool, ClassImbalance(1000))
    with pytest.raises(UserError, match="this data has no labels"):
        long_tailed(Pool.of(x=np.arange(3)), ClassImbalance(2))


def test_all_splits_are_long_tailed_and_features_avoid_evaluation_rows(tmp_path):
    stages = Stages(experiment({**VISION, "imbalance": 5, "size": 100, "eval_size": 40}), Store(tmp_path))
    rows = {name: set(stages.real.splits[name].row_digests()) for name in ("train", "heldout", "control", "features")}
    assert not rows["features"] & (rows["heldout"] | rows["control"])
    assert rows["train"] <= rows["features"]
    assert np.bincount(stages.real.splits["train"].array("label")).argmin() == 9
    balanced = np.bincount(stages.real.splits["features"].array("label"))
    assert balanced.max() / balanced.min() < 1.5, "the feature model learns from nearly balanced classes"
