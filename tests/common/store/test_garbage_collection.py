"""`autophagy gc` keeps what kept runs need, removes everything else, and does not disturb concurrent processes."""

from __future__ import annotations

import json
import os
import random
import shutil
from pathlib import Path

import pytest
from autophagy import experiment, run
from autophagy.common.store import artifact as artifact_module
from autophagy.common.store import cache as store_module
from autophagy.common.store.garbage_collection import plan_collection, remove_items
from autophagy.common.store.in_use import Ledger, open_ledgers
from autophagy.common.store.verify import check_artifacts, paths_to_check
from filelock import FileLock
from support.commands import autophagy
from support.power_cut import power_cut
from support.tiny import ANALYTIC, VISION


@pytest.fixture(autouse=True)
def no_fsync(monkeypatch):
    """Do not wait for the disk. No test here depends on data being flushed."""
    for module in (artifact_module, store_module):
        monkeypatch.setattr(module, "flush", lambda path: None)


def gc(store, *arguments):
    """Exit code and output lines of `autophagy gc`."""
    result = autophagy("gc", "--store", store, *arguments)
    return result.exit_code, [" ".join(line.split()) for line in result.output.splitlines()]


def analytic(name, **changes):
    """A small analytic experiment."""
    return experiment({**ANALYTIC, "name": name, **changes})


def run_in(folder, config):
    """Run an experiment with `folder/store` and `folder/runs`, and return its rows."""
    return run(config, store=folder / "store", out=folder / "runs")


def artifact_files(store):
    """The time of every file of every artifact."""
    return {str(path): path.stat().st_mtime_ns for path in store.glob("artifacts/*/*/*") if path.is_file()}


def artifacts(store):
    """The keys of all artifacts."""
    return {path.name for path in store.glob("artifacts/*/*")}


def needed(folder):
    """The keys that a run lists in its record."""
    return set(json.loads((folder / "provenance.json").read_text())["artifacts"])


def ledger_of(config, store):
    return Ledger.of(config.name, config.yaml(), store=store)


def faults(store):
    """Paths and faults of damaged artifacts."""
    return [(result.path, result.fault) for result in check_artifacts(paths_to_check(store)) if result.fault]


def test_dry_run_lists_what_it_would_remove_and_removes_nothing(tmp_path):
    run_in(tmp_path, analytic("a"))
    run_in(tmp_path, analytic("b", seeds=[1]))
    store, before = tmp_path / "store", artifact_files(tmp_path / "store")
    code, lines = gc(store, tmp_path / "runs" / "a")
    kept, existing = needed(tmp_path / "runs" / "a"), artifacts(store)
    assert code == 0
    assert lines[0].startswith(f"{store}: {len(kept)} artifacts, ") and lines[0].endswith(f"are kept for: {tmp_path}/runs/a")
    assert lines[1] == "kind number bytes seconds to rebuild"
    counted = {line.split()[0]: int(line.split()[1]) for line in lines[2:-1]}
    removed = len(existing - kept)
    assert counted["fit"] + counted["sample"] + counted["measure"] == counted["lock"] == removed > 20
    assert lines[-1] == "would be removed; add --yes to remove them"
    assert artifact_files(store) == before
    assert gc(store, tmp_path / "runs" / "a", "--yes")[1][-1] == "removed"
    assert artifacts(store) == kept
    assert len(list((store / "locks").iterdir())) == len(kept)
    assert gc(store, tmp_path / "runs" / "a")[1][2] == "all 0 0 bytes"


def test_without_runs_only_leftovers_of_killed_processes_are_removed(tmp_path):
    run_in(tmp_path, analytic("a"))
    store, before = tmp_path / "store", artifact_files(tmp_path / "store")
    existing, missing = next(iter(artifacts(store))), "a" * 64
    for name in (f"{missing}-0", f"{existing}-1", f"{existing[:16]}-2"):
        (store / "drafts" / name).mkdir()
        (store / "drafts" / name / "half").write_text("half")
    for key in (existing, missing):
        (store / "scratch" / key).mkdir()
    (store / "locks" / f"{missing}.lock").touch()
    (store / "scratch" / "foreign").write_text("its name is not a key")
    code, lines = gc(store, "--yes")
    assert code == 0
    assert lines[0].endswith("are kept for: no RUN")
    assert {line.split()[0]: line.split()[1] for line in lines[2:-1]} == {"draft": "3", "scratch": "2", "lock": "1", "all": "6"}
    assert artifact_files(store) == before
    assert not list((store / "drafts").iterdir())
    assert [path.name for path in (store / "scratch").iterdir()] == ["foreign"]
    assert len(list((store / "locks").iterdir())) == len(artifacts(store))


@pytest.mark.slow
@pytest.mark.parametrize("draw", range(6))
def test_exactly_the_needs_of_kept_runs_stay(tmp_path, draw):
    """Random experiments share generation 0, policies, seeds and metrics. A random part of them is kept."""
    rng, rows, before = random.Random(draw), {}, {}
    policies = ["replace", "accumulate", "real", "mix", "dedup", "scraped"]
    policy_configs = {
        "mix": {"use": "mix", "real_fraction": 0.5},
        "dedup": {"use": "replace", "curation": {"use": "prune", "strategy": "typicality", "keep": 0.5}},
        "scraped": {"use": "accumulate", "synthetic_fraction": 0.5},
    }
    experiments = [
        analytic(
            f"e{number}",
            seeds=rng.sample(range(3), rng.randint(1, 2)),
            generations=rng.randint(1, 3),
            policies={name: policy_configs.get(name) for name in rng.sample(policies, rng.randint(1, 3))},
            metrics=rng.sample(["moments", "held-out-score"], rng.randint(1, 2)),
            size=rng.choice([8, 10]),
            eval_size=8,
            data={"use": "gaussian", "rows": 120, "replicates": 3},
        )
        for number in range(rng.randint(3, 5))
    ]
    store, folder = tmp_path / "store", tmp_path / "runs"
    for one in experiments:
        rows[one.name] = run_in(tmp_path, one)
    kept = rng.sample(experiments, rng.randint(1, len(experiments) - 1))
    assert gc(store, *(folder / one.name for one in kept), "--yes")[0] == 0
    before = artifact_files(store)
    for one in kept:
        assert run(one, store=store).equals(rows[one.name])
    assert artifact_files(store) == before, "running a kept experiment again builds nothing"
    assert artifacts(store) == set().union(*(needed(folder / one.name) for one in kept))
    assert faults(store) == []
    for one in experiments:
        assert run_in(tmp_path, one).equals(rows[one.name]), "removed artifacts are rebuilt with the same content"
    assert len(artifacts(store)) == len(set().union(*(needed(folder / one.name) for one in experiments)))


def test_run_record_lists_exactly_what_a_rerun_looks_up(tmp_path, monkeypatch):
    one = experiment({**VISION, "seeds": [0], "policies": ["replace", "real"]})
    run_in(tmp_path, one)
    looked_up = set()
    monkeypatch.setattr(Ledger, "add", lambda self, key: looked_up.add(key))
    run(one, store=tmp_path / "store")
    assert needed(tmp_path / "runs" / "tiny-vision") == looked_up
    unneeded = artifacts(tmp_path / "store") - looked_up
    recipes = [json.loads((tmp_path / "store" / "artifacts" / key[:2] / key / "manifest.json").read_text())["recipe"] for key in unneeded]
    assert {recipe["stage"] for recipe in recipes} == {"features"}, "features are not needed once the metrics are computed"


def test_folder_of_runs_names_all_runs_in_it(tmp_path):
    for number in range(3):
        run_in(tmp_path, analytic(f"e{number}", seeds=[number], policies=["replace"]))
    before = artifact_files(tmp_path / "store")
    code, lines = gc(tmp_path / "store", tmp_path / "runs", "--yes")
    assert code == 0
    assert lines[0].endswith(", ".join(str(tmp_path / "runs" / f"e{number}") for number in range(3)))
    assert artifact_files(tmp_path / "store") == before


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("no folder", "this folder does not exist"),
        ("no run", "neither this folder nor one directly below it contains a run"),
        ("the store", "neither this folder nor one directly below it contains a run"),
        ("not finished", "this run is not finished"),
        ("among others", "this run is not finished, because it has no provenance.json; run the same command again"),
        ("earlier version", "provenance.json does not list the artifacts that the run needs (no 'artifacts'); run the same command again"),
        ("not JSON", "provenance.json cannot be read: JSONDecodeError"),
        ("not keys", "'../../x' is not a key of 64 hexadecimal digits"),
        ("a list", "provenance.json cannot be read: TypeError"),
        ("deep", "provenance.json cannot be read: RecursionError"),
        ("another store", "artifacts that this run needs; name the store that the run used"),
    ],
)
@pytest.mark.filterwarnings("error")
def test_nothing_is_removed_if_needs_are_unknown(tmp_path, case, message):
    run_in(tmp_path, analytic("a"))
    run_in(tmp_path, analytic("b", seeds=[1]))
    (tmp_path / "empty").mkdir()
    runs, store = tmp_path / "runs", tmp_path / "store"
    record = runs / "a" / "provenance.json"
    content = json.loads(record.read_text())
    match case:
        case "not finished" | "among others":
            record.unlink()
        case "earlier version":
            del content["artifacts"]
            record.write_text(json.dumps(content))
        case "not keys":
            record.write_text(json.dumps({**content, "artifacts": ["../../x"]}))
        case "not JSON" | "a list" | "deep":
            record.write_text({"not JSON": "{", "a list": "[]", "deep": "[" * 10**6}[case])
        case "another store":
            store = tmp_path / "other"
            run(analytic("c", seeds=[2]), store=store)
    folder = {"no folder": tmp_path / "x", "no run": tmp_path / "empty", "the store": store, "among others": runs}.get(case, runs / "a")
    before = artifact_files(store)
    code, lines = gc(store, folder, "--yes")
    assert code == 2
    assert lines[0].startswith("error: ") and message in " ".join(lines)
    assert artifact_files(store) == before


@pytest.mark.parametrize("flag", ["--weights", "--unfinished"])
def test_weights_and_unfinished_need_runs(tmp_path, flag):
    run_in(tmp_path, analytic("a"))
    code, lines = gc(tmp_path / "store", flag, "--yes")
    assert code == 2
    assert " ".join(lines) == "error: gc: --weights and --unfinished require RUN arguments; name the folders of the runs to keep"


# ---- unfinished runs --------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Derives from BaseException, so that no `except Exception` in the code catches it."""


def run_and_kill(folder, config, *, at, activity=""):
    """Run an experiment until an activity (default: any) starts for the `at`-th time."""
    count = 0

    def watch(event):
        nonlocal count
        count += event.activity.endswith(activity)
        if count == at:
            raise Killed

    with pytest.raises(Killed):
        run(config, store=folder / "store", out=folder / "runs", progress=watch)


def test_artifacts_of_a_killed_run_stay_until_it_finishes(tmp_path):
    store, other, rows = tmp_path / "store", analytic("b", seeds=[1]), run(analytic("b", seeds=[1]), store=tmp_path / "undisturbed")
    run_in(tmp_path, analytic("a"))
    run_and_kill(tmp_path, other, at=25)
    before = artifact_files(store)
    assert len(artifacts(store) - needed(tmp_path / "runs" / "a")) > 10
    for _ in range(2):
        code, lines = gc(store, tmp_path / "runs" / "a", "--yes")
        assert code == 0
        assert lines[0].endswith(f"are kept for: {tmp_path}/runs/a, b (unfinished)")
        assert artifact_files(store) == before
    assert run_in(tmp_path, other).equals(rows)
    assert open_ledgers(store) == [], "its record now lists what it needs"
    gc(store, tmp_path / "runs" / "a", "--yes")
    assert artifacts(store) == needed(tmp_path / "runs" / "a")
    run_and_kill(tmp_path, other, at=25)
    code, lines = gc(store, tmp_path / "runs" / "a", "--unfinished", "--yes")
    assert "ledger 1" in " ".join(lines)
    assert open_ledgers(store) == []
    assert artifacts(store) == needed(tmp_path / "runs" / "a")


def test_scratch_of_an_unfinished_fit_stays(tmp_path):
    store, one = tmp_path / "store", analytic("a")
    run_and_kill(tmp_path, one, at=3, activity=": fit")
    (ledger,) = open_ledgers(store)
    resumable = next(iter(ledger.keys() - artifacts(store)))
    for key in (resumable, "a" * 64):
        (store / "scratch" / key).mkdir(exist_ok=True)
        (store / "scratch" / key / "checkpoint.pt").write_text("hours of work")
    gc(store, "--yes")
    assert [path.name for path in (store / "scratch").iterdir()] == [resumable]
    run_in(tmp_path, one)
    gc(store, tmp_path / "runs", "--yes")
    assert not list((store / "scratch").iterdir())


def test_incomplete_line_of_a_ledger_is_ignored(tmp_path):
    ledger = ledger_of(analytic("a"), tmp_path)
    ledger.add("a" * 64)
    with ledger.path.open("a") as file:
        file.write("b" * 40)
    assert ledger.keys() == {"a" * 64}
    assert ledger.name == "a"


# ---- concurrent processes ----------------------------------------------------------------------------------------------------


def test_locked_or_recently_used_artifacts_are_kept(tmp_path):
    run_in(tmp_path, analytic("a"))
    run_in(tmp_path, analytic("b", seeds=[1]))
    store = tmp_path / "store"
    plan = plan_collection(store, [tmp_path / "runs" / "a"])
    locked, used, *_ = sorted(artifacts(store) - needed(tmp_path / "runs" / "a"))
    ledger_of(analytic("c"), store).add(used)
    with FileLock(store / "locks" / f"{locked}.lock"):
        kept = {item.key for item, removed in remove_items(plan) if not removed}
    assert kept == {locked, used} == artifacts(store) - needed(tmp_path / "runs" / "a")
    ledger_of(analytic("c"), store).close()
    with FileLock(store / "locks" / f"{locked}.lock"):
        _, lines = gc(store, tmp_path / "runs" / "a", "--yes")
    assert "1 were kept, because other processes use them or removed them first" in lines
    assert locked in artifacts(store) and used not in artifacts(store)


def test_items_removed_by_another_gc_are_skipped(tmp_path):
    run_in(tmp_path, analytic("a"))
    run_in(tmp_path, analytic("b", seeds=[1]))
    plan = plan_collection(tmp_path / "store", [tmp_path / "runs" / "a"])
    gc(tmp_path / "store", tmp_path / "runs" / "a", "--yes")
    assert not any(removed for item, removed in remove_items(plan) if item.kind != "lock")
    assert artifacts(tmp_path / "store") == needed(tmp_path / "runs" / "a")


def test_set_aside_artifacts_are_removed_only_with_the_option(tmp_path):
    store, one = tmp_path / "store", analytic("a")
    run_in(tmp_path, one)
    damaged = next(store.glob("artifacts/*/*/values.json"))
    damaged.write_text("{}")
    with pytest.warns(UserWarning, match="is damaged"):
        run_in(tmp_path, one)
    gc(store, tmp_path / "runs", "--yes")
    assert [path.name[:64] for path in (store / "set-aside").iterdir()] == [damaged.parent.name]
    assert "set aside 1 " in " ".join(gc(store, "--set-aside", "--yes")[1])
    assert not list((store / "set-aside").iterdir())


@pytest.mark.slow
def test_crash_during_gc_leaves_complete_artifacts(tmp_path):
    original = tmp_path / "original"
    rows = run_in(original, analytic("a"))
    run_in(original, analytic("b", seeds=[1], policies=["replace"]))
    calls = [(os, "rename"), (os, "replace"), (os, "unlink"), (os, "rmdir"), (Path, "unlink"), (Path, "write_bytes")]
    limit, cut = 0, True
    while cut:
        limit += 7
        place = tmp_path / f"cut-{limit}"
        shutil.copytree(original, place)
        runs = [place / "runs" / "a"]

        def collect(place=place, runs=runs):
            return list(remove_items(plan_collection(place / "store", runs, weights=True)))

        cut = power_cut(collect, at=limit, calls=calls)
        assert faults(place / "store") == []
        collect()
        assert artifacts(place / "store") == needed(place / "runs" / "a")
        assert not list((place / "store" / "drafts").iterdir())
        before = artifact_files(place / "store")
        assert run(analytic("a"), store=place / "store").equals(rows)
        assert artifact_files(place / "store") == before
        shutil.rmtree(place)
    assert limit > 15 * 7


# ---- weights ----------------------------------------------------------------------------------------------------------


def with_weights(store):
    """The keys of models that have their weights."""
    return {path.parent.name for path in store.glob("artifacts/*/*/model")}


CHAINS = {
    "analytic": {**ANALYTIC, "generations": 4, "policies": ["replace", "accumulate"]},
    "previous": {
        **VISION, "seeds": [0], "policies": ["replace", "accumulate"], "init": "previous", "generations": 4, "metrics": ["frechet"],
    },
}  # fmt: skip


@pytest.mark.parametrize("which", CHAINS)
def test_removed_weights_are_rebuilt_when_needed(tmp_path, which, recwarn):
    one, store = experiment(CHAINS[which]), tmp_path / "store"
    rows, models = run_in(tmp_path, one), with_weights(store)
    record = json.loads((tmp_path / "runs" / one.name / "provenance.json").read_text())
    ends = {model["key"] for model in record["models"] if model["generation"] in (0, 4)}
    assert gc(store, tmp_path / "runs" / one.name, "--weights", "--yes")[0] == 0
    assert with_weights(store) == ends < models
    assert faults(store) == []
    before = artifact_files(store)
    assert run_in(tmp_path, one).equals(rows)
    assert artifact_files(store) == before, "a finished run needs no weights"
    assert gc(store, tmp_path / "runs" / one.name, "--weights")[1][2] == "all 0 0 bytes"

    more = {**CHAINS[which], "metrics": [*CHAINS[which]["metrics"], "held-out-score"]}
    assert run_in(tmp_path, experiment(more)).equals(run(experiment(more), store=tmp_path / "fresh"))
    assert with_weights(store) == models, "the new metric reads every model"
    after = artifact_files(store)
    rebuilt = {Path(name).parent.name for name, when in before.items() if after[name] != when}
    assert rebuilt == models - ends, "artifacts computed from them are not rebuilt"
    assert faults(store) == []
    assert not (store / "set-aside").exists()
    assert not [str(one.message) for one in recwarn if "artifact" in str(one.message)]


@pytest.mark.slow
def test_longer_and_more_chains_do_not_rebuild_removed_weights(tmp_path):
    one, store = analytic("a"), tmp_path / "store"
    run_in(tmp_path, one)
    gc(store, tmp_path / "runs" / "a", "--weights", "--yes")
    weights = with_weights(store)
    dropped = needed(tmp_path / "runs" / "a") - weights
    for more in (analytic("a", generations=5), analytic("a", policies=["replace", "real", "augment"])):
        assert run_in(tmp_path, more).equals(run(more, store=tmp_path / "fresh"))
    assert not dropped & with_weights(store)


def test_weights_of_other_kept_and_unfinished_runs_stay(tmp_path):
    """Generation 2 is in the middle of one run and the last of another. A third run, which was killed, has used generation 1."""
    store = tmp_path / "store"
    run_in(tmp_path, analytic("long", policies=["replace"]))
    run_in(tmp_path, analytic("short", policies=["replace"], generations=2))
    models = {model["generation"]: model["key"] for model in json.loads((tmp_path / "runs/long/provenance.json").read_text())["models"]}
    assert not set(plan_collection(store, [tmp_path / "runs" / "long"]).items)
    plan = plan_collection(store, [tmp_path / "runs" / "long"], weights=True)
    assert {item.key for item in plan.items if item.kind == "weights"} == {models[1], models[2]}
    plan = plan_collection(store, [tmp_path / "runs"], weights=True)
    assert {item.key for item in plan.items if item.kind == "weights"} == {models[1]}
    run_and_kill(tmp_path, analytic("third", policies=["replace", "real"], metrics=["moments", "held-out-score"]), at=20)
    (ledger,) = open_ledgers(store)
    assert {models[1]} <= ledger.keys()
    assert "weights" not in {item.kind for item in plan_collection(store, [tmp_path / "runs"], weights=True).items}


def test_rebuilt_weights_that_differ_cause_a_warning_and_rebuilds(tmp_path, monkeypatch):
    logged = {**ANALYTIC, "generator": "support.logging_generator:LoggingGaussian", "policies": ["replace"]}
    one, more = experiment(logged), experiment({**logged, "metrics": ["moments", "held-out-score"]})
    store, first_rows = tmp_path / "store", run_in(tmp_path, one)
    gc(store, tmp_path / "runs", "--weights", "--yes")
    monkeypatch.setenv("FIT_OFFSET", "0.25")
    with pytest.warns(UserWarning, match=r"artifact [0-9a-f]{16} was rebuilt because its weights had been dropped, and its bytes differ"):
        rows = run_in(tmp_path, more)
    assert faults(store) == []
    assert len(list((store / "set-aside").iterdir())) == 1
    value = rows[rows.metric == "variance"].set_index("generation").value
    before = first_rows[first_rows.metric == "variance"].set_index("generation").value
    assert value[0] == before[0]
    shutil.rmtree(store / "set-aside")
    assert run(more, store=store).equals(rows)


@pytest.mark.slow
def test_crash_while_weights_are_rebuilt_loses_at_most_one_fit(tmp_path, monkeypatch):
    original, one = tmp_path / "original", analytic("a", policies=["replace", "accumulate"])
    more = analytic("a", policies=["replace", "accumulate"], metrics=["held-out-score"])
    run_in(original, one)
    gc(original / "store", original / "runs", "--weights", "--yes")
    rows, limit, cut = run(more, store=tmp_path / "fresh"), 0, True
    while cut:
        limit += 1
        store = tmp_path / f"cut-{limit}"
        shutil.copytree(original / "store", store)
        with monkeypatch.context() as patched:
            patched.setattr(store_module.shutil, "rmtree", lambda *args, **kwargs: None)  # a dead process cleans up nothing
            cut = power_cut(lambda store=store: run(more, store=store), at=limit, calls=[(os, "rename")])
        assert faults(store) == []
        assert len(needed(original / "runs" / "a") - artifacts(store)) <= 1
        assert run(more, store=store).equals(rows)
    assert limit > 10
