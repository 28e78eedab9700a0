"""The scheduler reads finished chains from the store and starts workers only for missing ones."""

from __future__ import annotations

import json

import pytest
from autophagy import experiment, run
from autophagy.common.execution import scheduler
from autophagy.common.store.in_use import Ledger
from support.tiny import ANALYTIC, TEXT, TINY


def all_chains(config):
    return [(config.name, policy, seed) for seed in config.seeds for policy in config.arms]


def look_up(config, store):
    """The keys of the chains that the look-up finds, and the progress events that it sends."""
    events = []
    results = scheduler._look_up(config, store, events.append)
    return list(results), events


@pytest.fixture
def submitted(monkeypatch):
    """Records (workers, names of the tasks) of every executor that the scheduler starts."""
    executors, start = [], scheduler.executor

    def record(workers, progress, environment):
        executors.append((workers, []))
        return start(workers, progress, environment)

    def perform(task, threads):
        executors[-1][1].append(str(task))
        return scheduler_perform(task, threads)

    scheduler_perform = scheduler._perform
    monkeypatch.setattr(scheduler, "executor", record)
    monkeypatch.setattr(scheduler, "_perform", perform)
    return executors


def test_finished_run_starts_no_worker_and_reports_every_generation(tmp_path, submitted):
    config = experiment({**ANALYTIC, "seeds": [0, 1]})
    rows = run(config, store=tmp_path)
    submitted.clear()
    events = []
    assert run(config, store=tmp_path, workers=2, progress=events.append).equals(rows)
    assert submitted == []
    assert len(events) == len(all_chains(config)) * 4 and all(event.done for event in events)


def test_added_policy_runs_only_the_missing_chains(tmp_path, submitted):
    finished = experiment({**ANALYTIC, "policies": ["replace", "accumulate"], "seeds": [0, 1]})
    extended = experiment({**ANALYTIC, "policies": ["replace", "accumulate", "real"], "seeds": [0, 1]})
    run(finished, store=tmp_path / "store")
    submitted.clear()
    events = []
    rows = run(extended, store=tmp_path / "store", progress=events.append)
    [(workers, tasks)] = submitted
    assert workers == 1
    assert tasks[0] == "prepare" and sorted(tasks[1:]) == ["generation 0, seed 0", "generation 0, seed 1", "real, seed 0", "real, seed 1"]
    assert rows.equals(run(extended, store=tmp_path / "other")), "results do not depend on what was looked up"
    done = [(event.task, event.activity) for event in events if event.done]
    assert len(done) == len(set(done)) == 6 * 4, "every generation of every chain is reported once"


def test_added_seed_runs_only_the_chains_of_that_seed(tmp_path, submitted):
    run(experiment({**ANALYTIC, "seeds": [0]}), store=tmp_path)
    submitted.clear()
    run(experiment({**ANALYTIC, "seeds": [0, 1]}), store=tmp_path)
    [(_, tasks)] = submitted
    assert len(tasks) == 2 + len(ANALYTIC["policies"]) and all(task == "prepare" or task.endswith("seed 1") for task in tasks)


def test_ledger_of_a_killed_run_disables_the_look_up(tmp_path):
    """The workers of the resumed run verify the artifacts, so the look-up would verify them a second time."""
    config = experiment(ANALYTIC)
    run(config, store=tmp_path)
    keys, events = look_up(config, tmp_path)
    assert keys == all_chains(config) and len(events) == len(keys) * 4
    ledger = Ledger.of(config.name, config.yaml(), store=tmp_path)
    assert ledger.keys(), "the look-up itself uses artifacts, so it has opened a ledger"
    assert look_up(config, tmp_path) == ([], [])
    ledger.close()
    assert look_up(config, tmp_path)[0] == all_chains(config)


def test_ledger_of_another_config_does_not_disable_the_look_up(tmp_path):
    config, other = experiment(ANALYTIC), experiment({**ANALYTIC, "generations": 9})
    run(config, store=tmp_path)
    Ledger.of(other.name, other.yaml(), store=tmp_path).add("0" * 64)
    assert look_up(config, tmp_path)[0] == all_chains(config)


def test_empty_store_has_no_finished_chains(tmp_path):
    scheduler.Store(tmp_path)
    assert look_up(experiment(ANALYTIC), tmp_path) == ([], [])


def test_looked_up_chains_list_the_models_that_they_share(tmp_path):
    """`provenance.json` names every artifact of a run. Garbage collection would delete a base model that is missing in it."""
    config = {**TEXT, "generator": TINY["ngram"], "base": {"context": 8}, "policies": ["replace"], "seeds": [0], "generations": 1}
    config |= {"features": {"use": "lsa", "features": 4}, "metrics": ["frechet"]}
    run(experiment(config), store=tmp_path / "store", out=tmp_path)
    path = tmp_path / config["name"] / "provenance.json"
    first = path.read_bytes()
    stages = {json.loads(manifest.read_text())["recipe"]["stage"] for manifest in (tmp_path / "store").glob("artifacts/*/*/manifest.json")}
    assert {"fit", "feature-model"} <= stages
    run(experiment(config), store=tmp_path / "store", out=tmp_path)
    assert path.read_bytes() == first
    both = {**config, "policies": ["replace", "accumulate"]}
    run(experiment(both), store=tmp_path / "store", out=tmp_path)
    assert set(json.loads(first)["artifacts"]) < set(json.loads(path.read_bytes())["artifacts"])
