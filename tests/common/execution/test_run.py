"""Whole chains of the text and vision tracks: complete rows, shared stages, a correct audit, the same results after kills."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from autophagy import UserError, experiment, run
from autophagy.common.config.registry import merge
from autophagy.common.execution.run import SCHEMA
from support.tiny import ANALYTIC, TEXT, VISION


@pytest.fixture(scope="module", params=[pytest.param(TEXT, marks=pytest.mark.slow), VISION], ids=["text", "vision"])
def finished(request, tmp_path_factory):
    """An experiment, its store and its rows, run in this process."""
    config, store = experiment(request.param), tmp_path_factory.mktemp("store")
    return config, store, run(config, store=store, workers=1)


def manifests(store):
    """The manifests of a store, with the times at which they were config."""
    return {path: path.stat().st_mtime_ns for path in Path(store).glob("artifacts/*/*/manifest.json")}


def test_rows_are_tidy_complete_and_finite(finished):
    config, _, rows = finished
    assert list(rows.columns) == SCHEMA.names
    keys = ["experiment", "policy", "seed", "generation", "metric"]
    assert not rows.duplicated(keys).any()
    assert rows.value.notna().all()
    assert set(rows.policy) == set(config.policies)
    assert set(rows.generation) == {0, 1, 2, 3}
    metric_rows = rows[~rows.axis.isin(["mixture", "cost"])]
    assert metric_rows.floor.notna().all(), "every metric has its floor"
    assert (metric_rows.n == config.eval_size).all()


def test_generation_0_is_the_same_for_every_policy(finished):
    _, _, rows = finished
    first = rows[rows.generation == 0].drop(columns="policy")
    assert len(first.drop_duplicates()) * rows.policy.nunique() == len(first)


def test_second_run_builds_nothing_and_gives_the_same_rows(finished):
    config, store, rows = finished
    before = manifests(store)
    assert run(config, store=store, workers=1).equals(rows)
    assert manifests(store) == before


def test_audit_counts_the_rows_of_each_generation(finished):
    config, _, rows = finished
    trained = rows[rows.metric.str.startswith("trained_rows/")].set_index(["policy", "seed", "generation", "metric"]).value.sort_index()
    assert trained["replace", 0, 2].to_dict() == {"trained_rows/generation 1": config.size}
    assert trained["accumulate", 0, 2].to_dict() == {
        "trained_rows/real": config.size, "trained_rows/generation 0": config.size, "trained_rows/generation 1": config.size,
    }  # fmt: skip
    assert trained["real", 0, 2].to_dict() == {"trained_rows/real": config.size}
    if "mix" in config.policies:
        assert trained["mix", 1, 3].to_dict() == {"trained_rows/real": 10, "trained_rows/generation 2": 30}
    depth = rows[(rows.metric == "depth") & (rows.seed == 0)].set_index(["policy", "generation"]).value
    assert [depth["replace", generation] for generation in range(4)] == [0, 1, 2, 3]
    assert [depth["real", generation] for generation in range(4)] == [0, 0, 0, 0]
    assert 0 < depth["accumulate", 3] < 2
    assert rows[rows.metric == "steps"].value.nunique() == 1, "all policies take the same number of steps"
    unit = "tokens" if config.modality == "text" else "images"
    totals = rows[rows.metric == f"trained_{unit}"].set_index(["policy", "seed", "generation"]).value
    parts = rows[rows.metric.str.startswith(f"trained_{unit}/")].groupby(["policy", "seed", "generation"]).value.sum()
    assert (totals.sort_index() == parts.sort_index()).all()


def test_experiment_with_fewer_policies_builds_nothing(tmp_path):
    run(experiment(ANALYTIC), store=tmp_path, workers=1)
    before = manifests(tmp_path)
    run(experiment({**ANALYTIC, "policies": ["accumulate", "real"]}), store=tmp_path, workers=1)
    assert manifests(tmp_path) == before


@pytest.mark.slow
def test_other_sampling_settings_reuse_the_fit_of_generation_0(tmp_path):
    run(experiment(ANALYTIC), store=tmp_path, workers=1)
    fits = lambda: sum('"stage": "fit"' in path.read_text() for path in manifests(tmp_path))  # noqa: E731
    before = fits()
    biased = merge(ANALYTIC, {"generator": {"use": "gaussian", "sampling": {"variance_scale": 0.5}}, "policies": ["replace"]})
    run(experiment({**ANALYTIC, **biased, "policies": ["replace"]}), store=tmp_path, workers=1)
    assert fits() - before == 3, "generation 0 is shared, generations 1 to 3 are new"


@pytest.mark.slow
def test_each_init_gives_a_different_model(tmp_path):
    likelihoods = {}
    for init in ("base", "previous", "scratch"):
        config = experiment({**TEXT, "init": init, "policies": ["replace"], "metrics": ["perplexity"], "generations": 2})
        rows = run(config, store=tmp_path, workers=1)
        likelihoods[init] = rows[(rows.generation == 2) & (rows.metric == "heldout_nll")].value.item()
    assert len(set(likelihoods.values())) == 3, likelihoods


@pytest.mark.slow
@pytest.mark.parametrize("prompts", ["real", "fixed"])
def test_prompts_work_in_a_whole_chain(prompts, tmp_path):
    rows = run(experiment({**TEXT, "prompts": prompts, "policies": ["replace"], "metrics": ["distinct"]}), store=tmp_path, workers=1)
    assert set(rows.generation) == {0, 1, 2, 3}


@pytest.mark.slow
def test_unequal_numbers_of_steps_are_rejected_by_default(tmp_path):
    config = merge(VISION, {"generator": {"training": {"epochs": 0.5, "steps": None}}, "seeds": [0]})
    with pytest.raises(UserError, match=r"different numbers of optimizer steps .*'accumulate'"):
        run(experiment(config), store=tmp_path, workers=1)
    rows = run(experiment({**config, "unequal_steps": True}), store=tmp_path, workers=1)
    assert rows[rows.metric == "steps"].value.nunique() > 1


@pytest.mark.slow
def test_killed_run_finished_by_two_workers_gives_the_same_rows(finished, write_config, tmp_path):
    """Real processes and real SIGKILL. The rows equal those of an uninterrupted run with one worker."""
    config, _, rows = finished
    path = write_config(TEXT if config.modality == "text" else VISION)
    options = ["--workers", "2", "--out", str(tmp_path / "out"), "--store", str(tmp_path)]
    command = [sys.executable, "-m", "autophagy", "run", str(path), *options]
    rng = random.Random(0)
    for whole_group in (False, True):
        process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        time.sleep(rng.uniform(6, 12))
        if whole_group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            os.kill(process.pid, signal.SIGKILL)  # the parent alone: its workers must exit too
        process.wait()
    assert run(config, store=tmp_path, workers=2).equals(rows)
