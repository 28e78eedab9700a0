"""`autophagy gc`: what kept runs need is never freed, what nobody needs always is, and whoever works beside it is not harmed."""

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
from autophagy.common.store import garbage_collection as free
from autophagy.common.store.in_use import Ledger, ledgers
from autophagy.common.store.verify import check, to_check
from filelock import FileLock
from support.commands import autophagy
from support.power_cut import power_cut
from support.tiny import ANALYTIC, VISION


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Without waiting for the disk: no power is cut here."""
    for module in (artifact_module, store_module):
        monkeypatch.setattr(module, "flush", lambda path: None)


def gc(store, *words):
    """The exit code and the lines of `autophagy gc`."""
    found = autophagy("gc", "--store", store, *words)
    return found.exit_code, [" ".join(line.split()) for line in found.output.splitlines()]


def wanted(name, **changes):
    return experiment({**ANALYTIC, "name": name, **changes})


def done(one, place):
    """The rows of an experiment that is run in the store of a place, with its folder beside it."""
    return run(one, store=place / "store", out=place / "runs")


def kept_files(store):
    return {str(path): path.stat().st_mtime_ns for path in store.glob("artifacts/*/*/*") if path.is_file()}


def artifacts(store):
    return {path.name for path in store.glob("artifacts/*/*")}


def needed(folder):
    return set(json.loads((folder / "provenance.json").read_text())["artifacts"])


def faults(store):
    return [(one.path, one.fault) for one in check(to_check(store)) if one.fault]


def test_a_dry_run_says_what_it_would_free_and_frees_nothing(tmp_path):
    done(wanted("a"), tmp_path)
    done(wanted("b", seeds=[1]), tmp_path)
    store, before = tmp_path / "store", kept_files(tmp_path / "store")
    code, lines = gc(store, tmp_path / "runs" / "a")
    mine, all_ = needed(tmp_path / "runs" / "a"), artifacts(store)
    assert code == 0
    assert lines[0].startswith(f"{store}: {len(mine)} artifacts, ") and lines[0].endswith(f"stay: {tmp_path}/runs/a")
    assert lines[1] == "what number bytes seconds to make again"
    counted = {line.split()[0]: int(line.split()[1]) for line in lines[2:-1]}
    freed = len(all_ - mine)
    assert counted["fit"] + counted["sample"] + counted["measure"] == counted["lock"] == freed > 20
    assert lines[-1] == "would be freed; --yes frees it"
    assert kept_files(store) == before
    assert gc(store, tmp_path / "runs" / "a", "--yes")[1][-1] == "freed"
    assert artifacts(store) == mine
    assert len(list((store / "locks").iterdir())) == len(mine)
    assert gc(store, tmp_path / "runs" / "a")[1][2] == "all 0 0 bytes"


def test_without_runs_no_artifact_is_freed_but_what_killed_processes_left_is(tmp_path):
    done(wanted("a"), tmp_path)
    store, before = tmp_path / "store", kept_files(tmp_path / "store")
    there, nothing = next(iter(artifacts(store))), "a" * 64
    for name in (f"{nothing}-0", f"{there}-1", f"{there[:16]}-2"):
        (store / "drafts" / name).mkdir()
        (store / "drafts" / name / "half").write_text("half")
    for key in (there, nothing):
        (store / "scratch" / key).mkdir()
    (store / "locks" / f"{nothing}.lock").touch()
    (store / "scratch" / "mine").write_text("not named after a key")
    code, lines = gc(store, "--yes")
    assert code == 0
    assert lines[0].endswith("stay: no RUN was named")
    assert {line.split()[0]: line.split()[1] for line in lines[2:-1]} == {"draft": "3", "scratch": "2", "lock": "1", "all": "6"}
    assert kept_files(store) == before
    assert not list((store / "drafts").iterdir())
    assert [path.name for path in (store / "scratch").iterdir()] == ["mine"]
    assert len(list((store / "locks").iterdir())) == len(artifacts(store))


@pytest.mark.slow
@pytest.mark.parametrize("draw", range(6))
def test_what_kept_runs_need_stays_and_nothing_else_whatever_they_share(tmp_path, draw):
    """Random experiments that share generation 0, policies, seeds, lengths, metrics; a random half of them is kept."""
    rng, rows, before = random.Random(draw), {}, {}
    policies = ["replace", "accumulate", "real", "mix", "dedup", "scraped"]
    written = {
        "mix": {"use": "mix", "real_fraction": 0.5},
        "dedup": {"use": "replace", "curation": {"use": "prune", "strategy": "typicality", "keep": 0.5}},
        "scraped": {"use": "accumulate", "synthetic_fraction": 0.5},
    }
    experiments = [
        wanted(
            f"e{number}",
            seeds=rng.sample(range(3), rng.randint(1, 2)),
            generations=rng.randint(1, 3),
            policies={name: written.get(name) for name in rng.sample(policies, rng.randint(1, 3))},
            metrics=rng.sample(["moments", "held-out-score"], rng.randint(1, 2)),
            size=rng.choice([8, 10]),
            eval_size=8,
            data={"use": "gaussian", "rows": 120, "replicates": 3},
        )
        for number in range(rng.randint(3, 5))
    ]
    store, folder = tmp_path / "store", tmp_path / "runs"
    for one in experiments:
        rows[one.name] = done(one, tmp_path)
    kept = rng.sample(experiments, rng.randint(1, len(experiments) - 1))
    assert gc(store, *(folder / one.name for one in kept), "--yes")[0] == 0
    before = kept_files(store)
    for one in kept:
        assert run(one, store=store).equals(rows[one.name])
    assert kept_files(store) == before, "running what was kept again builds nothing"
    assert artifacts(store) == set().union(*(needed(folder / one.name) for one in kept))
    assert faults(store) == []
    for one in experiments:
        assert done(one, tmp_path).equals(rows[one.name]), "what was freed is made again as it was"
    assert len(artifacts(store)) == len(set().union(*(needed(folder / one.name) for one in experiments)))


def test_a_run_needs_exactly_what_running_it_again_looks_for(tmp_path, monkeypatch):
    one = experiment({**VISION, "seeds": [0], "policies": ["replace", "real"]})
    done(one, tmp_path)
    looked_for = set()
    monkeypatch.setattr(Ledger, "note", lambda self, key: looked_for.add(key))
    run(one, store=tmp_path / "store")
    assert needed(tmp_path / "runs" / "tiny-vision") == looked_for
    features = artifacts(tmp_path / "store") - looked_for
    stages = [json.loads((tmp_path / "store" / "artifacts" / key[:2] / key / "manifest.json").read_text())["recipe"] for key in features]
    assert {recipe["stage"] for recipe in stages} == {"features"}, "what only a metric needed that is measured"


def test_runs_may_be_named_by_the_folder_that_holds_them(tmp_path):
    for number in range(3):
        done(wanted(f"e{number}", seeds=[number], policies=["replace"]), tmp_path)
    before = kept_files(tmp_path / "store")
    code, lines = gc(tmp_path / "store", tmp_path / "runs", "--yes")
    assert code == 0
    assert lines[0].endswith(", ".join(str(tmp_path / "runs" / f"e{number}") for number in range(3)))
    assert kept_files(tmp_path / "store") == before


@pytest.mark.parametrize(
    ("case", "said"),
    [
        ("no folder", "there is no such folder"), ("no run", "neither it nor a folder in it was written by `run`"),
        ("the store", "neither it nor a folder in it was written by `run`"), ("not finished", "this run is not finished"),
        ("among others", "this run is not finished, it has no provenance.json; run it again"),
        ("earlier version", "does not say which artifacts it needs (no 'artifacts'); run it again"),
        ("not JSON", "its provenance.json cannot be read"), ("not keys", "'../../x' is no key"), ("a list", "cannot be read"),
        ("deep", "its provenance.json cannot be read"), ("another store", "not one of the artifacts it needs is in --store"),
    ],
)  # fmt: skip
@pytest.mark.filterwarnings("error")
def test_where_it_is_not_certain_what_a_run_needs_nothing_is_freed(tmp_path, case, said):
    done(wanted("a"), tmp_path)
    done(wanted("b", seeds=[1]), tmp_path)
    (tmp_path / "empty").mkdir()
    runs, store = tmp_path / "runs", tmp_path / "store"
    record = runs / "a" / "provenance.json"
    generated = json.loads(record.read_text())
    match case:
        case "not finished" | "among others":
            record.unlink()
        case "earlier version":
            del generated["artifacts"]
            record.write_text(json.dumps(generated))
        case "not keys":
            record.write_text(json.dumps({**generated, "artifacts": ["../../x"]}))
        case "not JSON" | "a list" | "deep":
            record.write_text({"not JSON": "{", "a list": "[]", "deep": "[" * 10**6}[case])
        case "another store":
            store = tmp_path / "other"
            run(wanted("c", seeds=[2]), store=store)
    named = {"no folder": tmp_path / "x", "no run": tmp_path / "empty", "the store": store, "among others": runs}.get(case, runs / "a")
    before = kept_files(store)
    code, lines = gc(store, named, "--yes")
    assert code == 2
    assert lines[0].startswith("error: ") and said in " ".join(lines)
    assert kept_files(store) == before


@pytest.mark.parametrize("flag", ["--weights", "--unfinished"])
def test_flags_that_mean_nothing_without_runs_are_refused(tmp_path, flag):
    done(wanted("a"), tmp_path)
    code, lines = gc(tmp_path / "store", flag, "--yes")
    assert code == 2
    assert " ".join(lines) == "error: gc: what may go depends on which runs are kept: name the folders that `run` wrote"


# ---- unfinished runs --------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Nothing in the code may catch it."""


def killed(one, place, *, at, what=""):
    """Run an experiment until it has begun something (anything, if it is not said what) for the n-th time, and no further."""
    heard = 0

    def watch(event):
        nonlocal heard
        heard += event.activity.endswith(what)
        if heard == at:
            raise Killed

    with pytest.raises(Killed):
        run(one, store=place / "store", out=place / "runs", progress=watch)


def test_what_a_killed_run_has_made_stays_until_it_is_finished_or_given_up(tmp_path):
    store, other, rows = tmp_path / "store", wanted("b", seeds=[1]), run(wanted("b", seeds=[1]), store=tmp_path / "whole")
    done(wanted("a"), tmp_path)
    killed(other, tmp_path, at=25)
    before = kept_files(store)
    assert len(artifacts(store) - needed(tmp_path / "runs" / "a")) > 10
    for _ in range(2):
        code, lines = gc(store, tmp_path / "runs" / "a", "--yes")
        assert code == 0
        assert lines[0].endswith(f"stay: {tmp_path}/runs/a, b (unfinished)")
        assert kept_files(store) == before
    assert done(other, tmp_path).equals(rows)
    assert ledgers(store) == [], "what it needs stands in its folder now"
    gc(store, tmp_path / "runs" / "a", "--yes")
    assert artifacts(store) == needed(tmp_path / "runs" / "a")
    killed(other, tmp_path, at=25)
    code, lines = gc(store, tmp_path / "runs" / "a", "--unfinished", "--yes")
    assert "ledger 1" in " ".join(lines)
    assert ledgers(store) == []
    assert artifacts(store) == needed(tmp_path / "runs" / "a")


def test_the_scratch_of_a_fit_that_is_to_go_on_stays(tmp_path):
    store, one = tmp_path / "store", wanted("a")
    killed(one, tmp_path, at=3, what=": fit")
    (ledger,) = ledgers(store)
    going_on = next(iter(ledger.noted() - artifacts(store)))
    for key in (going_on, "a" * 64):
        (store / "scratch" / key).mkdir(exist_ok=True)
        (store / "scratch" / key / "checkpoint.pt").write_text("hours of work")
    gc(store, "--yes")
    assert [path.name for path in (store / "scratch").iterdir()] == [going_on]
    done(one, tmp_path)
    gc(store, tmp_path / "runs", "--yes")
    assert not list((store / "scratch").iterdir())


def test_a_line_of_a_ledger_that_was_cut_short_names_nothing(tmp_path):
    ledger = Ledger.of(wanted("a"), store=tmp_path)
    ledger.note("a" * 64)
    with ledger.path.open("a") as file:
        file.write("b" * 40)
    assert ledger.noted() == {"a" * 64}
    assert ledger.name == "a"


# ---- beside others ----------------------------------------------------------------------------------------------------


def test_what_another_process_holds_or_has_asked_for_since_is_left(tmp_path):
    done(wanted("a"), tmp_path)
    done(wanted("b", seeds=[1]), tmp_path)
    store = tmp_path / "store"
    planned = free.plan(store, [tmp_path / "runs" / "a"])
    held, asked, *_ = sorted(artifacts(store) - needed(tmp_path / "runs" / "a"))
    Ledger.of(wanted("c"), store=store).note(asked)
    with FileLock(store / "locks" / f"{held}.lock"):
        left = {item.key for item, gone in free.free(planned) if not gone}
    assert left == {held, asked} == artifacts(store) - needed(tmp_path / "runs" / "a")
    Ledger.of(wanted("c"), store=store).close()
    with FileLock(store / "locks" / f"{held}.lock"):
        _, lines = gc(store, tmp_path / "runs" / "a", "--yes")
    assert "1 stay after all: other processes use them or were faster" in lines
    assert held in artifacts(store) and asked not in artifacts(store)


def test_what_another_gc_has_freed_is_no_trouble(tmp_path):
    done(wanted("a"), tmp_path)
    done(wanted("b", seeds=[1]), tmp_path)
    planned = free.plan(tmp_path / "store", [tmp_path / "runs" / "a"])
    gc(tmp_path / "store", tmp_path / "runs" / "a", "--yes")
    assert not any(gone for item, gone in free.free(planned) if item.kind != "lock")
    assert artifacts(tmp_path / "store") == needed(tmp_path / "runs" / "a")


def test_what_was_set_aside_is_freed_only_if_asked(tmp_path):
    store, one = tmp_path / "store", wanted("a")
    done(one, tmp_path)
    damaged = next(store.glob("artifacts/*/*/values.json"))
    damaged.write_text("{}")
    with pytest.warns(UserWarning, match="is damaged"):
        done(one, tmp_path)
    gc(store, tmp_path / "runs", "--yes")
    assert [path.name[:64] for path in (store / "set-aside").iterdir()] == [damaged.parent.name]
    assert "set aside 1 " in " ".join(gc(store, "--set-aside", "--yes")[1])
    assert not list((store / "set-aside").iterdir())


@pytest.mark.slow
def test_a_crash_anywhere_while_freeing_leaves_whole_artifacts_and_the_next_gc_goes_on(tmp_path):
    original = tmp_path / "original"
    rows = done(wanted("a"), original)
    done(wanted("b", seeds=[1], policies=["replace"]), original)
    calls = [(os, "rename"), (os, "replace"), (os, "unlink"), (os, "rmdir"), (Path, "unlink"), (Path, "write_bytes")]
    limit, cut = 0, True
    while cut:
        limit += 7
        place = tmp_path / f"cut-{limit}"
        shutil.copytree(original, place)
        runs = [place / "runs" / "a"]

        def freeing(place=place, runs=runs):
            return list(free.free(free.plan(place / "store", runs, weights=True)))

        cut = power_cut(freeing, at=limit, calls=calls)
        assert faults(place / "store") == []
        freeing()
        assert artifacts(place / "store") == needed(place / "runs" / "a")
        assert not list((place / "store" / "drafts").iterdir())
        before = kept_files(place / "store")
        assert run(wanted("a"), store=place / "store").equals(rows)
        assert kept_files(place / "store") == before
        shutil.rmtree(place)
    assert limit > 15 * 7


# ---- weights ----------------------------------------------------------------------------------------------------------


def with_weights(store):
    return {path.parent.name for path in store.glob("artifacts/*/*/model")}


CHAINS = {
    "analytic": {**ANALYTIC, "generations": 4, "policies": ["replace", "accumulate"]},
    "previous": {
        **VISION, "seeds": [0], "policies": ["replace", "accumulate"], "init": "previous", "generations": 4, "metrics": ["frechet"],
    },
}  # fmt: skip


@pytest.mark.parametrize("which", CHAINS)
def test_old_weights_go_and_come_back_as_they_were_when_something_needs_them(tmp_path, which, recwarn):
    one, store = experiment(CHAINS[which]), tmp_path / "store"
    rows, whole = done(one, tmp_path), with_weights(store)
    generated = json.loads((tmp_path / "runs" / one.name / "provenance.json").read_text())
    ends = {model["key"] for model in generated["models"] if model["generation"] in (0, 4)}
    assert gc(store, tmp_path / "runs" / one.name, "--weights", "--yes")[0] == 0
    assert with_weights(store) == ends < whole
    assert faults(store) == []
    before = kept_files(store)
    assert done(one, tmp_path).equals(rows)
    assert kept_files(store) == before, "a finished run needs no weights"
    assert gc(store, tmp_path / "runs" / one.name, "--weights")[1][2] == "all 0 0 bytes"

    more = {**CHAINS[which], "metrics": [*CHAINS[which]["metrics"], "held-out-score"]}
    assert done(experiment(more), tmp_path).equals(run(experiment(more), store=tmp_path / "fresh"))
    assert with_weights(store) == whole, "the new metric looks at every model"
    after = kept_files(store)
    again = {Path(name).parent.name for name, when in before.items() if after[name] != when}
    assert again == whole - ends, "nothing that was made of them is made again"
    assert faults(store) == []
    assert not (store / "set-aside").exists()
    assert not [str(one.message) for one in recwarn if "artifact" in str(one.message)]


@pytest.mark.slow
def test_more_generations_and_policies_need_no_weights_that_were_dropped(tmp_path):
    one, store = wanted("a"), tmp_path / "store"
    done(one, tmp_path)
    gc(store, tmp_path / "runs" / "a", "--weights", "--yes")
    weights = with_weights(store)
    dropped = needed(tmp_path / "runs" / "a") - weights
    for more in (wanted("a", generations=5), wanted("a", policies=["replace", "real", "augment"])):
        assert done(more, tmp_path).equals(run(more, store=tmp_path / "fresh"))
    assert not dropped & with_weights(store)


def test_weights_of_another_kept_run_and_of_one_that_is_not_finished_stay(tmp_path):
    """Generation 2 is in the middle of one run and the end of another; a third, killed, has looked for generation 1."""
    store = tmp_path / "store"
    done(wanted("long", policies=["replace"]), tmp_path)
    done(wanted("short", policies=["replace"], generations=2), tmp_path)
    models = {model["generation"]: model["key"] for model in json.loads((tmp_path / "runs/long/provenance.json").read_text())["models"]}
    assert not set(free.plan(store, [tmp_path / "runs" / "long"]).items)
    planned = free.plan(store, [tmp_path / "runs" / "long"], weights=True)
    assert {item.key for item in planned.items if item.kind == "weights"} == {models[1], models[2]}
    planned = free.plan(store, [tmp_path / "runs"], weights=True)
    assert {item.key for item in planned.items if item.kind == "weights"} == {models[1]}
    killed(wanted("third", policies=["replace", "real"], metrics=["moments", "held-out-score"]), tmp_path, at=20)
    (ledger,) = ledgers(store)
    assert models[1] in ledger.noted()
    assert "weights" not in {item.kind for item in free.plan(store, [tmp_path / "runs"], weights=True).items}


def test_weights_that_come_out_otherwise_are_said_to_and_all_that_was_made_of_them_is_made_anew(tmp_path, monkeypatch):
    logged = {**ANALYTIC, "generator": "support.logging_generator:LoggingGaussian", "policies": ["replace"]}
    one, more = experiment(logged), experiment({**logged, "metrics": ["moments", "held-out-score"]})
    store, generated = tmp_path / "store", done(one, tmp_path)
    gc(store, tmp_path / "runs", "--weights", "--yes")
    monkeypatch.setenv("FIT_OFFSET", "0.25")
    with pytest.warns(UserWarning, match=r"artifact [0-9a-f]{16}, made again because its weights had been dropped, has other bytes"):
        rows = done(more, tmp_path)
    assert faults(store) == []
    assert len(list((store / "set-aside").iterdir())) == 1
    value = rows[rows.metric == "variance"].set_index("generation").value
    before = generated[generated.metric == "variance"].set_index("generation").value
    assert value[0] == before[0]
    shutil.rmtree(store / "set-aside")
    assert run(more, store=store).equals(rows)


@pytest.mark.slow
def test_a_crash_while_weights_are_made_again_loses_no_more_than_one_fit(tmp_path, monkeypatch):
    original, one = tmp_path / "original", wanted("a", policies=["replace", "accumulate"])
    more = wanted("a", policies=["replace", "accumulate"], metrics=["held-out-score"])
    done(one, original)
    gc(original / "store", original / "runs", "--weights", "--yes")
    rows, limit, cut = run(more, store=tmp_path / "fresh"), 0, True
    while cut:
        limit += 1
        store = tmp_path / f"cut-{limit}"
        shutil.copytree(original / "store", store)
        with monkeypatch.context() as patched:
            patched.setattr(store_module.shutil, "rmtree", lambda *args, **kwargs: None)  # the dead clean up nothing
            cut = power_cut(lambda store=store: run(more, store=store), at=limit, calls=[(os, "rename")])
        assert faults(store) == []
        assert len(needed(original / "runs" / "a") - artifacts(store)) <= 1
        assert run(more, store=store).equals(rows)
    assert limit > 10
