"""Killed at a hundred random moments: real processes, real SIGKILL, and then the numbers of a run that nobody disturbed.

A server that has imported everything and run nothing forks the run, so that a kill costs a second and not the time of an import. Half of
the kills come after a random time; the other half from inside, at a random one of the calls that change the store or write results,
so that every step of sealing, renaming and writing is hit.
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from multiprocessing import get_context

import pytest
from autophagy import experiment, run
from autophagy.common.execution import run as run_module
from autophagy.common.execution.run import write_results
from autophagy.common.execution.scheduler import run_all
from autophagy.common.store import Store
from autophagy.common.store import cache as store_module
from support.killed_runs import run_until_killed, run_with_report
from support.tiny import ANALYTIC, TEXT, VISION

pytestmark = pytest.mark.slow

KILLS = int(os.environ.get("AUTOPHAGY_KILLS", "34"))
"""Kills of each track."""
IMPORTED = [
    "torch", "transformers", "diffusers", "accelerate", "sklearn.linear_model",
    "autophagy.common.report.runs.report", "autophagy.common.execution.scheduler",
]  # fmt: skip
TRACKS = {"analytic": ANALYTIC, "text": {**TEXT, "seeds": [0]}, "vision": {**VISION, "seeds": [0]}}


@pytest.mark.parametrize("track", TRACKS)
def test_a_run_killed_at_random_moments_ends_with_the_same_numbers(track, tmp_path):
    written, rng = TRACKS[track], random.Random(track)
    expected = run(experiment(written), store=tmp_path / "reference", workers=1)  # also imports what there is to import
    started = time.monotonic()
    run_with_report(written, tmp_path / "timed")
    seconds = time.monotonic() - started
    fork, kills, finished = get_context("forkserver"), 0, 0
    fork.set_forkserver_preload(IMPORTED)
    while kills < KILLS:
        folder = tmp_path / f"killed-{finished}"
        fatal = rng.choice([None, int(10 ** rng.uniform(0, 2.5))])
        process = fork.Process(target=run_until_killed, args=(written, folder, fatal))
        process.start()
        if fatal is None:
            process.join(rng.uniform(0, seconds))
            process.kill()
        process.join(300)
        if process.exitcode == 0:
            finished += 1
            assert run(experiment(written), store=folder / "store", out=folder / "again", workers=1).equals(expected)
        else:
            assert process.exitcode == -signal.SIGKILL, f"it ended with {process.exitcode}"
            kills += 1
    run_with_report(written, folder)
    assert run(experiment(written), store=folder / "store", workers=1).equals(expected)
    assert (folder / "out" / "report.html").stat().st_size > 100_000
    for artifact in (folder / "store" / "artifacts").glob("*/*"):
        assert store_module.inspect(artifact, key=artifact.name)[1] == ""


def test_results_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    """A kill between the files of a results folder leaves the old ones or the new ones, never half of one."""
    wanted = experiment(ANALYTIC)
    outcome = run_all([wanted], store=tmp_path / "store", workers=1, progress=lambda event: None)[wanted.name]
    write_results(wanted, outcome, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.is_file()}

    def dies(old, new):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_module.os, "replace", dies)
    with pytest.raises(KeyboardInterrupt):
        write_results(wanted, outcome, tmp_path / "out")
    after = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.is_file()}
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_ends_the_run_says_what_is_kept_and_exits_130(workers, write_config, tmp_path):
    config = write_config({**TEXT, "generations": 60})
    where = ["--store", tmp_path / "store", "--out", tmp_path / "out", "--workers", workers]
    command = [sys.executable, "-m", "autophagy", "run", str(config), *map(str, where)]
    heard = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731  what a shell starts in the background ignores it
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True, preexec_fn=heard)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "store").glob("artifacts/*/*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(2)
    os.killpg(process.pid, signal.SIGINT)  # a terminal's Ctrl-C reaches the workers too
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130, said
    assert "interrupted; what was finished is kept, the same command goes on from there" in said
    assert "Traceback" not in said
    kept = Store(tmp_path / "store")
    assert all(store_module.inspect(folder, key=folder.name)[1] == "" for folder in (kept.root / "artifacts").glob("*/*"))
    deadline = time.monotonic() + 10
    while (left := alive(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not left, "a worker lives on"


def alive(group: int) -> list[str]:
    """Processes of a group; those that have ended and whose parent has not asked how are none (init may never ask, in a container)."""
    found = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in found if line.split()[0] == str(group) and not line.split()[1].startswith("Z")]
