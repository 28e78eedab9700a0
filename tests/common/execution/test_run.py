"""Whole chains of both tracks: three generations, shared stages, an honest audit, the same bytes however they were run."""

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
def done(request, tmp_path_factory):
    """An experiment, its store and its rows, run in this process."""
    wanted, store = experiment(request.param), tmp_path_factory.mktemp("store")
    return wanted, store, run(wanted, store=store, workers=1)


def manifests(store):
    return {path: path.stat().st_mtime_ns for path in Path(store).glob("artifacts/*/*/manifest.json")}


def test_rows_are_tidy_complete_and_finite(done):
    wanted, _, rows = done
    assert list(rows.columns) == SCHEMA.names
    keys = ["experiment", "policy", "seed", "generation", "metric"]
    assert not rows.duplicated(keys).any()
    assert rows.value.notna().all()
    assert set(rows.policy) == set(wanted.policies)
    assert set(rows.generation) == {0, 1, 2, 3}
    judged = rows[~rows.axis.isin(["mixture", "cost"])]
    assert judged.floor.notna().all(), "every metric has its floor"
    assert (judged.n == wanted.eval_size).all()


def test_generation_0_is_one_and_the_same_under_every_policy(done):
    _, _, rows = done
    first = rows[rows.generation == 0].drop(columns="policy")
    assert len(first.drop_duplicates()) * rows.policy.nunique() == len(first)


def test_running_again_builds_nothing_and_gives_the_same_rows(done):
    wanted, store, rows = done
    before = manifests(store)
    assert run(wanted, store=store, workers=1).equals(rows)
    assert manifests(store) == before


def test_the_audit_says_what_was_trained_on(done):
    wanted, _, rows = done
    trained = rows[rows.metric.str.startswith("trained_rows/")].set_index(["policy", "seed", "generation", "metric"]).value.sort_index()
    assert trained["replace", 0, 2].to_dict() == {"trained_rows/generation 1": wanted.size}
    assert trained["accumulate", 0, 2].to_dict() == {
        "trained_rows/real": wanted.size, "trained_rows/generation 0": wanted.size, "trained_rows/generation 1": wanted.size,
    }  # fmt: skip
    assert trained["real", 0, 2].to_dict() == {"trained_rows/real": wanted.size}
    if "mix" in wanted.policies:
        assert trained["mix", 1, 3].to_dict() == {"trained_rows/real": 10, "trained_rows/generation 2": 30}
    depth = rows[(rows.metric == "depth") & (rows.seed == 0)].set_index(["policy", "generation"]).value
    assert [depth["replace", generation] for generation in range(4)] == [0, 1, 2, 3]
    assert [depth["real", generation] for generation in range(4)] == [0, 0, 0, 0]
    assert 0 < depth["accumulate", 3] < 2
    assert rows[rows.metric == "steps"].value.nunique() == 1, "all policies take the same number of steps"
    unit = "tokens" if wanted.modality == "text" else "images"
    totals = rows[rows.metric == f"trained_{unit}"].set_index(["policy", "seed", "generation"]).value
    parts = rows[rows.metric.str.startswith(f"trained_{unit}/")].groupby(["policy", "seed", "generation"]).value.sum()
    assert (totals.sort_index() == parts.sort_index()).all()


def test_a_changed_policy_refits_nothing_that_is_shared(tmp_path):
    run(experiment(ANALYTIC), store=tmp_path, workers=1)
    before = manifests(tmp_path)
    run(experiment({**ANALYTIC, "policies": ["accumulate", "real"]}), store=tmp_path, workers=1)
    assert manifests(tmp_path) == before


@pytest.mark.slow
def test_another_sampling_keeps_the_fit_of_generation_0(tmp_path):
    run(experiment(ANALYTIC), store=tmp_path, workers=1)
    fits = lambda: sum('"stage": "fit"' in path.read_text() for path in manifests(tmp_path))  # noqa: E731
    before = fits()
    biased = merge(ANALYTIC, {"generator": {"use": "gaussian", "sampling": {"variance_scale": 0.5}}, "policies": ["replace"]})
    run(experiment({**ANALYTIC, **biased, "policies": ["replace"]}), store=tmp_path, workers=1)
    assert fits() - before == 3, "generation 0 is shared, generations 1 to 3 are new"


@pytest.mark.slow
def test_every_start_runs_and_gives_another_model(tmp_path):
    found = {}
    for init in ("base", "previous", "scratch"):
        wanted = experiment({**TEXT, "init": init, "policies": ["replace"], "metrics": ["perplexity"], "generations": 2})
        rows = run(wanted, store=tmp_path, workers=1)
        found[init] = rows[(rows.generation == 2) & (rows.metric == "heldout_nll")].value.item()
    assert len(set(found.values())) == 3, found


@pytest.mark.slow
@pytest.mark.parametrize("prompts", ["real", "fixed"])
def test_prompts_run_through_the_loop(prompts, tmp_path):
    rows = run(experiment({**TEXT, "prompts": prompts, "policies": ["replace"], "metrics": ["distinct"]}), store=tmp_path, workers=1)
    assert set(rows.generation) == {0, 1, 2, 3}


@pytest.mark.slow
def test_policies_that_differ_in_steps_are_refused_unless_that_is_meant(tmp_path):
    written = merge(VISION, {"generator": {"training": {"epochs": 0.5, "steps": None}}, "seeds": [0]})
    with pytest.raises(UserError, match=r"different numbers of optimizer steps .*'accumulate'"):
        run(experiment(written), store=tmp_path, workers=1)
    rows = run(experiment({**written, "unequal_steps": True}), store=tmp_path, workers=1)
    assert rows[rows.metric == "steps"].value.nunique() > 1


@pytest.mark.slow
def test_killed_at_random_moments_and_finished_by_two_workers_gives_the_values_of_one(done, write_config, tmp_path):
    """Real processes, real SIGKILL; then the rows of an uninterrupted run by one worker, value for value."""
    wanted, _, rows = done
    config = write_config(TEXT if wanted.modality == "text" else VISION)
    command = [
        sys.executable,
        "-m",
        "autophagy",
        "run",
        str(config),
        "--workers",
        "2",
        "--out",
        str(tmp_path / "out"),
        "--store",
        str(tmp_path),
    ]
    rng = random.Random(0)
    for whole_group in (False, True):
        process = subprocess.Popen(command, start_new_session=True, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        time.sleep(rng.uniform(6, 12))
        if whole_group:
            os.killpg(process.pid, signal.SIGKILL)
        else:
            os.kill(process.pid, signal.SIGKILL)  # the parent alone: its workers must not live on
        process.wait()
    assert run(wanted, store=tmp_path, workers=2).equals(rows)
