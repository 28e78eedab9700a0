"""Floors: real rows against real rows, of the size of what is measured, in several draws; and how many rows a number rests on."""

from __future__ import annotations

import numpy as np
import pytest
from autophagy import experiment, run
from autophagy.common.components.distances import precision_recall
from autophagy.common.loop.stages import Stages
from autophagy.common.store import Store
from support.tiny import VISION


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    store = tmp_path_factory.mktemp("store")
    metrics = ["frechet", {"use": "precision-recall", "max_rows": 12}, "pixel-variance", "held-out-score"]
    wanted = experiment({**VISION, "generations": 1, "seeds": [0], "policies": ["real"], "metrics": metrics, "floors": 4})
    return wanted, run(wanted, store=store), Stages(wanted, Store(store))


def test_draws_halve_the_same_real_rows_and_the_first_is_control_against_held_out(ran):
    _, _, stages = ran
    real = sorted(stages.real.splits["control"].row_digests() + stages.real.splits["heldout"].row_digests())
    assert len(stages.real.floors) == 4
    assert (
        stages.real.floors[0]["generated"].digest == stages.real.splits["control"].digest
        and stages.real.floors[0]["heldout"].digest == stages.real.splits["heldout"].digest
    )
    assert len({draw["generated"].digest for draw in stages.real.floors}) == 4
    for draw in stages.real.floors:
        assert sorted(draw["generated"].row_digests() + draw["heldout"].row_digests()) == real
        assert len(draw["generated"]) == len(draw["heldout"])


def test_a_floor_is_the_mean_of_the_draws_beside_their_scatter(ran):
    _, rows, stages = ran
    shares = [stages.real.floors[draw]["generated"].array("image").astype(float).var(axis=0).mean() / 255**2 for draw in range(4)]
    [floor], [scatter] = (rows[rows.metric == "pixel_variance"][name].unique() for name in ("floor", "floor_sd"))
    assert floor == pytest.approx(np.mean(shares)) and scatter == pytest.approx(np.std(shares, ddof=1)) and scatter > 0


def test_a_number_about_a_model_has_the_floor_of_generation_0s_model(ran):
    _, rows, _ = ran
    found = rows[rows.metric == "heldout_nats"]
    assert found.floor.nunique() == 1 and found[found.generation == 0].value.iloc[0] != found.floor.iloc[0], "its draws are others"
    assert abs(found[found.generation == 0].value.iloc[0] - found.floor.iloc[0]) < 10 * found.floor_sd.iloc[0]


def test_a_cap_on_quadratic_cost_takes_the_first_rows_and_the_numbers_say_so(ran):
    wanted, rows, stages = ran
    assert rows[rows.metric == "recall"].n.unique() == [12] and rows[rows.metric == "frechet_distance"].n.unique() == [wanted.eval_size]
    pairs = [[stages.features(draw[name])["features"][:12] for name in ("generated", "heldout")] for draw in stages.real.floors]
    expected = np.mean([precision_recall(*pair)[1] for pair in pairs])
    assert rows[rows.metric == "recall"].floor.unique() == pytest.approx([expected])
