"""Several real processes on one store: nothing is built twice, nobody waits for the dead, and nothing is lost or harmed."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas
import pytest
import yaml
from autophagy import experiment, run
from autophagy.common.store.garbage_collection import free, plan
from autophagy.common.store.in_use import ledgers
from autophagy.common.store.verify import check, left_drafts, to_check
from support.tiny import ANALYTIC, ROOT

pytestmark = pytest.mark.slow

PROCESSES = 4
KILLS = int(os.environ.get("AUTOPHAGY_KILLS", "2"))
"""Of each process."""
LENGTH = 4 + 2 * KILLS
"""Generations: so many that processes are at work when they are killed."""
ROBBERIES = 4
"""How often gc is told to take even what runs that are at work have made."""
RUNNER = """
import sys
from autophagy import UserError, load_config, run
import autophagy.common.execution.scheduler, support.logging_generator
print("ready", flush=True)
try:
    run(load_config(sys.argv[1]), store=sys.argv[2], out=sys.argv[3])
except UserError as error:
    sys.exit(f"error: {error}")
"""


def overlapping() -> list[dict]:
    """Experiments that share seeds, policies and generations with each other; the first two are the same but for their names."""
    generator = "support.logging_generator:LoggingGaussian"
    shared = {**ANALYTIC, "generator": generator, "generations": LENGTH, "metrics": ["moments", "held-out-score"]}
    return [
        {**shared, "name": "one", "seeds": [0, 1], "policies": ["replace", "accumulate"]},
        {**shared, "name": "two", "seeds": [0, 1], "policies": ["replace", "accumulate"]},
        {**shared, "name": "three", "seeds": [1, 2], "policies": ["accumulate", "real"]},
        {**shared, "name": "four", "seeds": [0, 2], "policies": ["real", "replace"], "generations": LENGTH + 1},
    ]


def go(written: dict, place: Path, *, killed_after: float | None = None) -> tuple[int, str]:
    """Run an experiment in a process of its own, killed so many seconds after its imports; its exit code and what it complained of."""
    config = place / f"{written['name']}.yaml"
    config.write_text(yaml.safe_dump(written))
    command = [sys.executable, "-c", RUNNER, str(config), str(place / "store"), str(place / "runs")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests"), "FIT_LOG": str(place / "log")}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        if killed_after is not None:
            time.sleep(killed_after)
            process.send_signal(signal.SIGKILL)
        _, said = process.communicate(timeout=120)  # who waits for the dead waits longer
    return process.returncode, said


def rows_of(name: str, place: Path) -> pandas.DataFrame:
    return pandas.read_parquet(place / "runs" / name / "rows.parquet")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """The rows of each experiment, run by one process in a store of its own."""
    place = tmp_path_factory.mktemp("alone")
    return {written["name"]: run(experiment(written), store=place / written["name"]) for written in overlapping()}


def test_processes_that_want_the_same_build_everything_once(tmp_path, alone):
    with ThreadPoolExecutor(PROCESSES) as processes:
        outcomes = list(processes.map(lambda written: go(written, tmp_path), overlapping()))
    assert outcomes == [(0, "")] * PROCESSES
    for name, rows in alone.items():
        assert rows_of(name, tmp_path).equals(rows)
    built = Counter((tmp_path / "log").read_text().split("\n"))
    assert set(built.values()) == {1}, "no fit was made twice"
    assert not any(one.fault for one in check(to_check(tmp_path / "store")))


class Beside:
    """Does something to a store again and again, in a thread, until the block ends; what it raises is raised there."""

    def __init__(self, act, *, every: float):
        self.act, self.every, self.times, self.failed, self.stop = act, every, 0, None, threading.Event()
        self.thread = threading.Thread(target=self.go)

    def go(self):
        while not self.stop.is_set() and self.failed is None:
            try:
                self.act()
                self.times += 1
            except BaseException as error:
                self.failed = error
            self.stop.wait(self.every)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        if self.failed:
            raise self.failed


def test_killed_at_random_with_verify_and_gc_beside_them_processes_lose_nothing(tmp_path, alone):
    """Each is killed by SIGKILL while it works; gc frees what is nobody's, and a few times what is theirs."""
    rng, store, kept = random.Random(0), tmp_path / "store", {**overlapping()[2], "name": "kept", "seeds": [1]}
    for before in ({**overlapping()[0], "name": "forgotten", "seeds": [1, 3]}, kept):
        assert go(before, tmp_path) == (0, "")
    kept_rows = rows_of("kept", tmp_path)
    freed: Counter[str] = Counter()
    kills: Counter[str] = Counter()
    turned_away: Counter[str] = Counter()
    robberies = iter(range(ROBBERIES))

    def verify():
        faults = [(one.path, one.fault) for one in check(to_check(store)) if one.fault]
        assert not faults

    def gc():
        robs = rng.random() < 0.3 and next(robberies, None) is not None
        planned = plan(store, [tmp_path / "runs" / "kept"], weights=rng.random() < 0.3, unfinished=robs)
        freed.update(item.kind for item, gone in free(planned) if gone)

    def persist(written):
        name, waits = written["name"], random.Random(written["name"])
        while not (tmp_path / "runs" / name / "rows.parquet").exists():
            code, said = go(written, tmp_path, killed_after=waits.uniform(0.05, 1.2) if kills[name] < KILLS else None)
            kills[name] += code == -signal.SIGKILL
            if code == 1:  # the same artifact was taken from it twice: it says so, and is started again
                assert "was in the store and is gone" in said
                turned_away[name] += 1
            else:
                assert code in (0, -signal.SIGKILL), said

    with Beside(verify, every=0.1) as verifying, Beside(gc, every=0.2) as freeing, ThreadPoolExecutor(PROCESSES) as processes:
        list(processes.map(persist, overlapping()))
    print(f"kills {dict(kills)}, turned away {dict(turned_away)}, {verifying.times} verify, {freeing.times} gc, freed {dict(freed)}")
    assert sum(kills.values()) >= PROCESSES * KILLS // 2 and verifying.times > 3 and freeing.times > 3 and freed["fit"]
    for name, rows in alone.items():
        assert rows_of(name, tmp_path).equals(rows)
    verify()
    assert not (store / "set-aside").exists(), "nothing was ever damaged"
    list(free(plan(store, [tmp_path / "runs" / "kept"], unfinished=True)))
    assert not left_drafts(store) and not ledgers(store)
    before = {path: path.stat().st_mtime_ns for path in store.glob("artifacts/*/*/*")}
    assert run(experiment(kept), store=store).equals(kept_rows)
    assert before == {path: path.stat().st_mtime_ns for path in store.glob("artifacts/*/*/*")}, "what is kept is never freed"
