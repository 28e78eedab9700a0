"""Floors: a metric on pairs of real pools, which have as many rows as the pools that are measured."""

from __future__ import annotations

import numpy as np
import pytest
from autophagy import experiment, run
from autophagy.common.components.distances import precision_recall
from autophagy.common.loop.stages import Stages
from autophagy.common.store import Store
from support.tiny import VISION


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An experiment, its rows and its stages."""
    store = tmp_path_factory.mktemp("store")
    metrics = ["frechet", {"use": "precision-recall", "max_rows": 12}, "pixel-variance", "held-out-score"]
    tiny = experiment({**VISION, "generations": 1, "seeds": [0], "policies": ["real"], "metrics": metrics, "floors": 4})
    return tiny, run(tiny, store=store), Stages(tiny, Store(store))


def test_floor_pairs_are_halves_of_the_same_real_rows(finished):
    _, _, stages = finished
    control, heldout, floors = stages.real.splits["control"], stages.real.splits["heldout"], stages.real.floors
    real_rows = sorted(control.row_digests() + heldout.row_digests())
    assert len(floors) == 4
    assert floors[0]["generated"].digest == control.digest and floors[0]["heldout"].digest == heldout.digest
    assert len({pair["generated"].digest for pair in floors}) == 4
    for pair in floors:
        assert sorted(pair["generated"].row_digests() + pair["heldout"].row_digests()) == real_rows
        assert len(pair["generated"]) == len(pair["heldout"])


def test_floor_is_the_mean_of_the_pairs_with_their_deviation(finished):
    _, rows, stages = finished
    values = [pair["generated"].array("image").astype(float).var(axis=0).mean() / 255**2 for pair in stages.real.floors]
    [floor], [deviation] = (rows[rows.metric == "pixel_variance"][name].unique() for name in ("floor", "floor_sd"))
    assert floor == pytest.approx(np.mean(values)) and deviation == pytest.approx(np.std(values, ddof=1)) and deviation > 0


def test_floor_of_a_likelihood_uses_the_model_of_generation_0(finished):
    _, rows, _ = finished
    likelihood = rows[rows.metric == "heldout_nats"]
    first = likelihood[likelihood.generation == 0].iloc[0]
    assert likelihood.floor.nunique() == 1
    assert first.value != first.floor, "the floor averages over other rows too"
    assert abs(first.value - first.floor) < 10 * first.floor_sd


def test_max_rows_compares_the_first_rows_and_reports_their_number(finished):
    tiny, rows, stages = finished
    assert rows[rows.metric == "recall"].n.unique() == [12] and rows[rows.metric == "frechet_distance"].n.unique() == [tiny.eval_size]
    pairs = [[stages.features(pair[name])["features"][:12] for name in ("generated", "heldout")] for pair in stages.real.floors]
    expected = np.mean([precision_recall(*pair)[1] for pair in pairs])
    assert rows[rows.metric == "recall"].floor.unique() == pytest.approx([expected])
