"""Limits of the machine (disk, memory, open files, permissions): one clear message, an intact store, and a run that can continue."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys

import pytest
from autophagy import UserError, experiment, run
from autophagy.common.cli import main as cli
from autophagy.common.core.resources import machine_fault
from autophagy.common.execution import cost_estimate
from autophagy.common.execution.cost_estimate import estimate_cost
from autophagy.common.store.verify import check_artifacts, paths_to_check
from support.commands import autophagy_process
from support.tiny import ANALYTIC, ROOT, VISION
from typer.testing import CliRunner

EXHAUSTING = {**ANALYTIC, "generator": "support.exhausting_generator:ExhaustingGaussian"}


def is_intact(store):
    """True if no artifact of the store has a fault."""
    return not any(one.fault for one in check_artifacts(paths_to_check(store)))


# ---- disk ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def small_disk(tmp_path_factory):
    """Results of commands on a real disk that is full, and on one that is read-only."""
    namespace = ["unshare", "--user", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*namespace, "true"], capture_output=True).returncode:
        pytest.skip("this machine does not allow tests to mount a disk")
    config = tmp_path_factory.mktemp("disk") / "config.json"
    config.write_text(json.dumps(VISION))
    command = [*namespace, sys.executable, ROOT / "tests" / "support" / "full_disk.py", config]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_run_that_does_not_fit_is_rejected_at_once(small_disk):
    refused = small_disk["refused"]
    assert refused["code"] == 2
    assert re.search(r"error: --store .*/store: this run needs about \d+ MB, but its disk has \d+ MB free", refused["output"])
    assert small_disk["artifacts when refused"] <= 1  # the feature model at most


@pytest.mark.slow
def test_full_disk_gives_one_message_and_loses_nothing(small_disk):
    full = small_disk["full"]
    assert full["code"] == 2 and "No space left on device" in full["output"]
    lines = full["output"].splitlines()
    progress = [line for line in lines if re.match(r"tiny-vision, (prepare|[\w ]+, seed \d): ", line)]  # on a slow machine only
    [message] = [line for line in lines if line not in progress]
    assert message.startswith("error: ") and "/store" in message, full["output"]
    assert small_disk["artifacts when full"] > 3 and small_disk["drafts"] == 0
    assert small_disk["verified, full"]["code"] == 0


@pytest.mark.slow
def test_run_continues_when_the_disk_has_space_again(small_disk):
    assert small_disk["continued"]["code"] == 0, small_disk["continued"]
    assert small_disk["verified, larger"]["code"] == 0
    assert small_disk["equal"]


@pytest.mark.slow
def test_read_only_store_serves_finished_runs_only(small_disk):
    assert small_disk["read-only, complete"]["code"] == 0, small_disk["read-only, complete"]
    incomplete = small_disk["read-only, incomplete"]
    assert incomplete["code"] == 2
    assert re.search(r"--store .*/store: .* cannot be written: Read-only file system", incomplete["output"]), incomplete
    assert small_disk["verified, read-only"]["code"] == 0
    assert "Read-only file system" in small_disk["gc, read-only"]["output"]
    assert small_disk["gc, read-only"]["code"] == 2


@pytest.mark.slow
def test_results_that_cannot_be_written_give_one_message(small_disk):
    for command, cause in (("results, read-only", "Read-only file system"), ("results, full", "No space left on device")):
        result = small_disk[command]
        assert result["code"] == 2 and cause in result["output"] and "--out" in result["output"], result


def test_store_without_write_permission_gives_one_message(write_config, tmp_path):
    """Root may write anywhere, so the command runs without that capability."""
    store = tmp_path / "store"
    for name in ("artifacts", "drafts", "locks", "scratch"):
        (store / name).mkdir(parents=True)
    (store / "locks").chmod(0o500)
    drop = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]
    if os.geteuid() == 0 and (not shutil.which("setpriv") or subprocess.run([*drop, "true"], capture_output=True).returncode):
        pytest.skip("this machine does not allow root to drop capabilities")
    prefix = drop if os.geteuid() == 0 else ()
    done = autophagy_process("run", write_config(ANALYTIC), "--store", store, "--out", tmp_path, "--workers", 1, prefix=prefix)
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert re.search(r"error: .*--store .*locks.*Permission denied", done.stderr), done.stderr


# ---- memory, processes, files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_out_of_memory_names_the_task_and_loses_nothing(library, tmp_path, monkeypatch):
    monkeypatch.setenv("EXHAUST", str(tmp_path / "exhaust"))
    (tmp_path / "exhaust").write_text(library)
    with pytest.raises(UserError, match=r"^tiny-gaussian, replace, seed 0, generation 2: out of memory: .*allocate"):
        run(experiment(EXHAUSTING), store=tmp_path / "store")
    assert is_intact(tmp_path / "store")
    (tmp_path / "exhaust").unlink()
    assert run(experiment(EXHAUSTING), store=tmp_path / "store").equals(run(experiment(EXHAUSTING), store=tmp_path / "other"))


@pytest.mark.slow
def test_killed_worker_is_reported_with_its_task(write_config, tmp_path):
    env = {"EXHAUST": str(tmp_path / "exhaust")}
    (tmp_path / "exhaust").write_text("the kernel")
    command = ("run", write_config(EXHAUSTING), "--store", tmp_path / "store", "--out", tmp_path / "out", "--workers", 2)
    died = autophagy_process(*command, env=env)
    assert died.returncode == 2 and "Traceback" not in died.stderr
    cause = r"error: a worker process died while working on tiny-gaussian \(\w+, seed 0\)\. Either it ran out of memory"
    assert re.search(cause, died.stderr), died.stderr
    assert is_intact(tmp_path / "store")
    (tmp_path / "exhaust").unlink()
    assert autophagy_process(*command, env=env).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_too_many_open_files_give_one_message(workers, write_config, tmp_path):
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (14, 14))  # noqa: E731
    command = ("run", write_config(ANALYTIC), "--store", tmp_path / "store", "--out", tmp_path / "out", "--workers", workers)
    limited = autophagy_process(*command, preexec_fn=limit)
    if limited.returncode:
        assert limited.returncode == 2 and "too many open files" in limited.stderr.lower() and "Traceback" not in limited.stderr, (
            limited.stderr
        )
    done = autophagy_process(*command)
    assert done.returncode == 0 and is_intact(tmp_path / "store"), done.stderr


def test_resource_errors_of_libraries_are_recognised():
    class LibraryError(Exception):
        pass

    assert machine_fault(LibraryError("I/O error: No space left on device (os error 28)")).startswith(
        "No space left on device: LibraryError"
    )
    assert machine_fault(OSError(24, "Too many open files", "/some/where")) == "/some/where: Too many open files"
    assert machine_fault(MemoryError()) == "out of memory"
    wrapped = LibraryError("could not save")
    wrapped.__cause__ = PermissionError(13, "Permission denied", "/some/where")
    assert machine_fault(wrapped) == "/some/where: Permission denied"
    assert machine_fault(ValueError("a mistake")) is None and machine_fault(FileNotFoundError(2, "No such file or directory", "x")) is None


# ---- cost estimates ----------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_estimate_extrapolates_from_generations_in_the_store(tmp_path):
    config, store = experiment({**VISION, "generations": 6}), tmp_path / "store"
    unknown = estimate_cost(config, store)
    assert not store.exists(), "an estimate writes nothing"
    assert unknown.seconds is None and unknown.peak_bytes is None and unknown.finished == 0
    assert unknown.missing == 2 * (1 + 4 * 6), "generation 0 is shared by the policies of a seed"
    run(experiment({**VISION, "generations": 1, "seeds": [0]}), store=store)
    small = estimate_cost(config, store)
    assert (small.finished, small.missing) == (5, unknown.missing - 5)
    before = sum(path.stat().st_size for path in (store / "artifacts").rglob("*") if path.is_file())
    run(config, store=store)
    added = sum(path.stat().st_size for path in (store / "artifacts").rglob("*") if path.is_file()) - before
    assert 0.8 * added < small.bytes < 1.25 * added
    assert small.seconds > 0 and small.peak_bytes > 10**7
    done = estimate_cost(config, store)
    assert (done.missing, done.bytes, done.seconds) == (0, 0, 0)


def test_nearly_full_disk_rejects_only_runs_that_do_not_fit(tmp_path, monkeypatch):
    config, store = experiment({**ANALYTIC, "generations": 6}), tmp_path / "store"
    run(config, store=store)
    monkeypatch.setattr(cost_estimate, "free_disk", lambda folder: cost_estimate.RESERVED_BYTES)
    run(config, store=store)
    with pytest.raises(UserError, match=r"this run needs about 0 MB, but its disk has 100 MB free, of which 100 MB stay reserved"):
        run(experiment({**ANALYTIC, "generations": 7}), store=store)


def test_dry_run_prints_the_cost_estimate(write_config, tmp_path):
    def comments(*changes):
        done = CliRunner().invoke(cli.app, ["run", str(path), *changes, "--dry-run", "--store", str(tmp_path / "store"), "--workers", "2"])
        assert done.exit_code == 0
        return [line for line in done.output.splitlines() if line.startswith("# ")]

    path = write_config(ANALYTIC)
    first = "\n".join(comments())
    assert "# to build: 10 generations (each: fit, sample, measure moments); 0 are in the store" in first
    assert re.search(r"# disk: at least .*B; .*B are free", first) and "`generations=1 seeds=[0]` builds one" in first
    run(experiment({**ANALYTIC, "generations": 1}), store=tmp_path / "store")
    second = "\n".join(comments())
    assert "# to build: 6 generations" in second and "; 4 are in the store" in second
    assert re.search(r"# time: about .* on one processor, .* with 2 workers", second)
    assert re.search(r"# memory: .*[MG]B per worker; .* are free", second)
