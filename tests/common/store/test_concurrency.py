"""Several real processes share one store: nothing is built twice, killed processes block nobody, and no artifact is lost or damaged."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pandas
import pytest
import yaml
from autophagy import experiment, run
from autophagy.common.store.garbage_collection import plan_collection, remove_items
from autophagy.common.store.in_use import open_ledgers
from autophagy.common.store.verify import abandoned_drafts, check_artifacts, paths_to_check
from support.tiny import ANALYTIC, ROOT

pytestmark = pytest.mark.slow

PROCESSES = 4
KILLS = int(os.environ.get("AUTOPHAGY_KILLS", "2"))
"""Kills of each process."""
LENGTH = 4 + 2 * KILLS
"""Generations; enough for processes to be at work when they are killed."""
FORCED_COLLECTIONS = 4
"""How often garbage collection also removes the artifacts of running experiments."""
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


def overlapping_configs() -> list[dict]:
    """Experiments that share seeds, policies and generations. The first two differ only in their names."""
    generator = "support.logging_generator:LoggingGaussian"
    shared = {**ANALYTIC, "generator": generator, "generations": LENGTH, "metrics": ["moments", "held-out-score"]}
    return [
        {**shared, "name": "one", "seeds": [0, 1], "policies": ["replace", "accumulate"]},
        {**shared, "name": "two", "seeds": [0, 1], "policies": ["replace", "accumulate"]},
        {**shared, "name": "three", "seeds": [1, 2], "policies": ["accumulate", "real"]},
        {**shared, "name": "four", "seeds": [0, 2], "policies": ["real", "replace"], "generations": LENGTH + 1},
    ]


def run_process(config: dict, folder: Path, *, killed_after: float | None = None) -> tuple[int, str]:
    """Run an experiment in its own process and return its exit code and stderr. killed_after: seconds after its imports."""
    path = folder / f"{config['name']}.yaml"
    path.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-c", RUNNER, str(path), str(folder / "store"), str(folder / "runs")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests"), "FIT_LOG": str(folder / "log")}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n", process.stderr.read()
        if killed_after is not None:
            time.sleep(killed_after)
            process.send_signal(signal.SIGKILL)
        _, errors = process.communicate(timeout=120)  # a process that waits for a killed one would exceed this
    return process.returncode, errors


def rows_of(name: str, folder: Path) -> pandas.DataFrame:
    return pandas.read_parquet(folder / "runs" / name / "rows.parquet")


@pytest.fixture(scope="module")
def expected_rows(tmp_path_factory):
    """The rows of each experiment, run by one process in its own store."""
    folder = tmp_path_factory.mktemp("alone")
    return {config["name"]: run(experiment(config), store=folder / config["name"]) for config in overlapping_configs()}


def test_processes_build_shared_artifacts_once(tmp_path, expected_rows):
    with ThreadPoolExecutor(PROCESSES) as processes:
        results = list(processes.map(lambda config: run_process(config, tmp_path), overlapping_configs()))
    assert results == [(0, "")] * PROCESSES
    for name, rows in expected_rows.items():
        assert rows_of(name, tmp_path).equals(rows)
    fits = Counter((tmp_path / "log").read_text().split("\n"))
    assert set(fits.values()) == {1}, "a fit was repeated"
    assert not any(one.fault for one in check_artifacts(paths_to_check(tmp_path / "store")))


class Repeat:
    """Calls a function repeatedly in a thread until the block ends. An exception of the function is raised at the end of the block."""

    def __init__(self, function: Callable[[], None], *, every: float):
        self.function, self.every, self.count = function, every, 0
        self.error: BaseException | None = None
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.loop)

    def loop(self):
        while not self.stop.is_set() and self.error is None:
            try:
                self.function()
                self.count += 1
            except BaseException as error:
                self.error = error
            self.stop.wait(self.every)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.thread.join()
        if self.error:
            raise self.error


def test_killed_processes_lose_nothing_during_verify_and_gc(tmp_path, expected_rows):
    """Processes are killed by SIGKILL while they work. Meanwhile gc removes unneeded artifacts, and a few times needed ones too."""
    rng, store, kept = random.Random(0), tmp_path / "store", {**overlapping_configs()[2], "name": "kept", "seeds": [1]}
    for config in ({**overlapping_configs()[0], "name": "forgotten", "seeds": [1, 3]}, kept):
        assert run_process(config, tmp_path) == (0, "")
    kept_rows = rows_of("kept", tmp_path)
    removed: Counter[str] = Counter()
    kills: Counter[str] = Counter()
    lost: Counter[str] = Counter()
    forced_collections = iter(range(FORCED_COLLECTIONS))

    def verify():
        faults = [(result.path, result.fault) for result in check_artifacts(paths_to_check(store)) if result.fault]
        assert not faults

    def gc():
        force = rng.random() < 0.3 and next(forced_collections, None) is not None
        plan = plan_collection(store, [tmp_path / "runs" / "kept"], weights=rng.random() < 0.3, unfinished=force)
        removed.update(item.kind for item, was_removed in remove_items(plan) if was_removed)

    def run_to_the_end(config):
        name, delays = config["name"], random.Random(config["name"])
        while not (tmp_path / "runs" / name / "rows.parquet").exists():
            code, errors = run_process(config, tmp_path, killed_after=delays.uniform(0.05, 1.2) if kills[name] < KILLS else None)
            kills[name] += code == -signal.SIGKILL
            if code == 1:  # it lost the same artifact twice; the same command continues
                assert "disappeared from the store while it was in use" in errors
                lost[name] += 1
            else:
                assert code in (0, -signal.SIGKILL), errors

    with Repeat(verify, every=0.1) as verifying, Repeat(gc, every=0.2) as collecting, ThreadPoolExecutor(PROCESSES) as processes:
        list(processes.map(run_to_the_end, overlapping_configs()))
    print(f"kills {dict(kills)}, lost {dict(lost)}, {verifying.count} verify, {collecting.count} gc, removed {dict(removed)}")
    assert sum(kills.values()) >= PROCESSES * KILLS // 2 and verifying.count > 3 and collecting.count > 3 and removed["fit"]
    for name, rows in expected_rows.items():
        assert rows_of(name, tmp_path).equals(rows)
    verify()
    assert not (store / "set-aside").exists(), "an artifact was damaged"
    list(remove_items(plan_collection(store, [tmp_path / "runs" / "kept"], unfinished=True)))
    assert not abandoned_drafts(store) and not open_ledgers(store)
    before = {path: path.stat().st_mtime_ns for path in store.glob("artifacts/*/*/*")}
    assert run(experiment(kept), store=store).equals(kept_rows)
    assert before == {path: path.stat().st_mtime_ns for path in store.glob("artifacts/*/*/*")}, "an artifact of a kept run was removed"
