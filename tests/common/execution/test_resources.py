"""What a machine runs out of: one message that names it, an intact store, and going on once the cause is gone."""

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


def sound(store):
    return not any(one.fault for one in check_artifacts(paths_to_check(store)))


# ---- disk ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def on_a_small_disk(tmp_path_factory):
    """What happened when a run met a real disk that was full, and one that could only be read."""
    namespace = ["unshare", "--user", "--map-root-user", "--mount"]
    if not shutil.which("unshare") or subprocess.run([*namespace, "true"], capture_output=True).returncode:
        pytest.skip("this machine does not let tests mount a disk of their own")
    config = tmp_path_factory.mktemp("disk") / "config.json"
    config.write_text(json.dumps(VISION))
    command = [*namespace, sys.executable, ROOT / "tests" / "support" / "full_disk.py", config]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_a_run_that_would_not_fit_is_refused_before_anything_is_made(on_a_small_disk):
    refused = on_a_small_disk["refused"]
    assert refused["code"] == 2
    assert re.search(r"error: --store .*/store: this run needs about \d+ MB, but its disk has \d+ MB free", refused["output"])
    assert on_a_small_disk["artifacts when refused"] <= 1  # the feature model at most


@pytest.mark.slow
def test_a_disk_that_fills_up_is_one_message_and_costs_nothing_that_was_made(on_a_small_disk):
    full = on_a_small_disk["full"]
    assert full["code"] == 2 and "No space left on device" in full["output"]
    assert len(full["output"].splitlines()) == 1 and "/store" in full["output"], full["output"]
    assert on_a_small_disk["artifacts when full"] > 3 and on_a_small_disk["drafts"] == 0
    assert on_a_small_disk["verified, full"]["code"] == 0


@pytest.mark.slow
def test_with_room_again_the_same_command_goes_on_to_the_same_rows(on_a_small_disk):
    assert on_a_small_disk["continued"]["code"] == 0, on_a_small_disk["continued"]
    assert on_a_small_disk["verified, larger"]["code"] == 0
    assert on_a_small_disk["equal"]


@pytest.mark.slow
def test_a_store_that_can_only_be_read_gives_what_it_has_and_says_what_it_cannot(on_a_small_disk):
    assert on_a_small_disk["read-only, complete"]["code"] == 0, on_a_small_disk["read-only, complete"]
    more = on_a_small_disk["read-only, incomplete"]
    assert more["code"] == 2 and re.search(r"--store .*/store: .* cannot be written: Read-only file system", more["output"]), more
    assert on_a_small_disk["verified, read-only"]["code"] == 0
    assert "Read-only file system" in on_a_small_disk["gc, read-only"]["output"]
    assert on_a_small_disk["gc, read-only"]["code"] == 2


@pytest.mark.slow
def test_results_that_cannot_be_written_are_one_message(on_a_small_disk):
    for what, why in (("results, read-only", "Read-only file system"), ("results, full", "No space left on device")):
        happened = on_a_small_disk[what]
        assert happened["code"] == 2 and why in happened["output"] and "--out" in happened["output"], happened


def test_without_permission(write_config, tmp_path):
    """Root may write anywhere, so it is run without that right."""
    store = tmp_path / "store"
    for name in ("artifacts", "drafts", "locks", "scratch"):
        (store / name).mkdir(parents=True)
    (store / "locks").chmod(0o500)
    before = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", "--inh-caps=-dac_override,-dac_read_search"]
    if os.geteuid() == 0 and (not shutil.which("setpriv") or subprocess.run([*before, "true"], capture_output=True).returncode):
        pytest.skip("this machine does not let root give up rights")
    done = autophagy_process(
        "run", write_config(ANALYTIC), "--store", store, "--out", tmp_path, "--workers", 1, prefix=before if os.geteuid() == 0 else ()
    )
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert re.search(r"error: .*--store .*locks.*Permission denied", done.stderr), done.stderr


# ---- memory, processes, files ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("library", ["numpy", "torch"])
def test_out_of_memory_says_where_and_costs_nothing_that_was_made(library, tmp_path, monkeypatch):
    monkeypatch.setenv("EXHAUST", str(tmp_path / "exhaust"))
    (tmp_path / "exhaust").write_text(library)
    with pytest.raises(UserError, match=r"^tiny-gaussian, replace, seed 0, generation 2: out of memory: .*allocate"):
        run(experiment(EXHAUSTING), store=tmp_path / "store")
    assert sound(tmp_path / "store")
    (tmp_path / "exhaust").unlink()
    assert run(experiment(EXHAUSTING), store=tmp_path / "store").equals(run(experiment(EXHAUSTING), store=tmp_path / "other"))


@pytest.mark.slow
def test_a_worker_that_is_killed_is_named_with_its_task(write_config, tmp_path):
    env = {"EXHAUST": str(tmp_path / "exhaust")}
    (tmp_path / "exhaust").write_text("the kernel")
    where = ("run", write_config(EXHAUSTING), "--store", tmp_path / "store", "--out", tmp_path / "out", "--workers", 2)
    died = autophagy_process(*where, env=env)
    assert died.returncode == 2 and "Traceback" not in died.stderr
    cause = r"error: a worker process died while working on tiny-gaussian \(\w+, seed 0\)\. Either it ran out of memory"
    assert re.search(cause, died.stderr), died.stderr
    assert sound(tmp_path / "store")
    (tmp_path / "exhaust").unlink()
    assert autophagy_process(*where, env=env).returncode == 0


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_too_many_open_files_is_one_message(workers, write_config, tmp_path):
    limit = lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (14, 14))  # noqa: E731
    where = ("run", write_config(ANALYTIC), "--store", tmp_path / "store", "--out", tmp_path / "out", "--workers", workers)
    few = autophagy_process(*where, preexec_fn=limit)
    if few.returncode:
        assert few.returncode == 2 and "too many open files" in few.stderr.lower() and "Traceback" not in few.stderr, few.stderr
    done = autophagy_process(*where)
    assert done.returncode == 0 and sound(tmp_path / "store"), done.stderr


def test_what_a_library_says_of_a_lack_is_understood():
    class Odd(Exception):
        pass

    assert machine_fault(Odd("I/O error: No space left on device (os error 28)")).startswith("No space left on device: Odd")
    assert machine_fault(OSError(24, "Too many open files", "/some/where")) == "/some/where: Too many open files"
    assert machine_fault(MemoryError()) == "out of memory"
    wrapped = Odd("could not save")
    wrapped.__cause__ = PermissionError(13, "Permission denied", "/some/where")
    assert machine_fault(wrapped) == "/some/where: Permission denied"
    assert machine_fault(ValueError("a mistake")) is None and machine_fault(FileNotFoundError(2, "No such file or directory", "x")) is None


# ---- what a run would take ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_the_plan_is_an_estimate_from_generation_0_and_exact_about_what_is_left(tmp_path):
    wanted, store = experiment({**VISION, "generations": 6}), tmp_path / "store"
    unknown = estimate_cost(wanted, store)
    assert not store.exists(), "looking makes nothing"
    assert unknown.seconds is None and unknown.peak_bytes is None and unknown.finished == 0
    assert unknown.missing == 2 * (1 + 4 * 6), "generation 0 is shared by the policies of a seed"
    run(experiment({**VISION, "generations": 1, "seeds": [0]}), store=store)
    small = estimate_cost(wanted, store)
    assert (small.finished, small.missing) == (5, unknown.missing - 5)
    before = sum(path.stat().st_size for path in (store / "artifacts").rglob("*") if path.is_file())
    run(wanted, store=store)
    added = sum(path.stat().st_size for path in (store / "artifacts").rglob("*") if path.is_file()) - before
    assert 0.8 * added < small.bytes < 1.25 * added
    assert small.seconds > 0 and small.peak_bytes > 10**7
    done = estimate_cost(wanted, store)
    assert (done.missing, done.bytes, done.seconds) == (0, 0, 0)


def test_a_nearly_full_disk_stops_what_does_not_fit_and_nothing_else(tmp_path, monkeypatch):
    wanted, store = experiment({**ANALYTIC, "generations": 6}), tmp_path / "store"
    run(wanted, store=store)
    monkeypatch.setattr(cost_estimate, "free_disk", lambda folder: cost_estimate.RESERVED_BYTES)
    run(wanted, store=store)
    with pytest.raises(UserError, match=r"this run needs about 0 MB, but its disk has 100 MB free, of which 100 MB stay reserved"):
        run(experiment({**ANALYTIC, "generations": 7}), store=store)


def test_dry_run_says_what_it_would_take(write_config, tmp_path):
    def said(*changes):
        done = CliRunner().invoke(
            cli.app, ["run", str(config), *changes, "--dry-run", "--store", str(tmp_path / "store"), "--workers", "2"]
        )
        assert done.exit_code == 0
        return [line for line in done.output.splitlines() if line.startswith("# ")]

    config = write_config(ANALYTIC)
    first = "\n".join(said())
    assert "# to build: 10 generations (each: fit, sample, measure moments); 0 are in the store" in first
    assert re.search(r"# disk: at least .*B; .*B are free", first) and "`generations=1 seeds=[0]` builds one" in first
    run(experiment({**ANALYTIC, "generations": 1}), store=tmp_path / "store")
    second = "\n".join(said())
    assert "# to build: 6 generations" in second and "; 4 are in the store" in second
    assert re.search(r"# time: about .* of one processor, .* with 2 workers", second) and re.search(
        r"# memory: .*[MG]B a worker; .* are free", second
    )
