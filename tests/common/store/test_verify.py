"""`autophagy verify`: every kind of damage is named, nothing is changed, and a big store is no trouble."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time

import pytest
from autophagy import UserError, experiment, run
from autophagy.common.store import Store
from autophagy.common.store import artifact as artifact_module
from autophagy.common.store import cache as store_module
from autophagy.common.store.in_use import Ledger
from autophagy.common.store.verify import check, to_check
from filelock import FileLock
from support.commands import autophagy
from support.tiny import ANALYTIC, ROOT

BIG = int(os.environ.get("AUTOPHAGY_BIG_STORE", "2000"))
"""Artifacts of the big store; 20,000 took 5 s and 85 MB."""


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A store that a run has filled."""
    folder = tmp_path_factory.mktemp("whole")
    run(experiment(ANALYTIC), store=folder / "store")
    return folder / "store"


@pytest.fixture
def store(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "store")


def verify(store):
    """The exit code and the lines of `autophagy verify`."""
    found = autophagy("verify", "--store", store)
    return found.exit_code, found.output.splitlines()


def folders(store, stage=None):
    found = sorted(store.glob("artifacts/*/*"))
    return [folder for folder in found if stage in (None, json.loads((folder / "manifest.json").read_text())["recipe"]["stage"])]


def snapshot(store):
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in store.rglob("*")}


def test_a_whole_store_is_well_and_stays_as_it_was(store):
    before = snapshot(store)
    code, lines = verify(store)
    assert code == 0
    count, bytes_ = len(folders(store)), sum(path.stat().st_size for path in (store / "artifacts").rglob("*") if path.is_file())
    assert lines == [f"{store}: {count} artifacts, {bytes_ / 1000:.1f} kB; 0 damaged"]
    assert snapshot(store) == before


def test_each_damage_is_named_with_its_key_and_its_stage_and_the_others_are_well(store):
    fits, samples, outputs = (folders(store, stage) for stage in ("fit", "sample", "measure"))
    with (fits[0] / "model" / "mean.npy").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x7f")
    (fits[1] / "seen.npy").unlink()
    with (samples[0] / "pool.arrow").open("r+b") as file:
        file.truncate(100)
    (samples[1] / "manifest.json").write_text("{")
    (outputs[0] / "notes.txt").write_text("found it useful")
    shutil.move(outputs[1], store / "elsewhere")
    outputs[1].symlink_to(store / "elsewhere")
    (store / "artifacts" / "READ\x1b[2JME").write_text("")
    (fits[0].parent / "not-a-key").mkdir()
    before = snapshot(store)
    code, lines = verify(store)
    assert code == 1
    assert sorted(lines[:-2]) == sorted([
        f"damaged: {fits[0].name} fit: model/mean.npy does not have the bytes it was sealed with",
        f"damaged: {fits[1].name} fit: seen.npy is missing",
        f"damaged: {samples[0].name} sample: pool.arrow does not have the bytes it was sealed with",
        f"damaged: {samples[1].name}: manifest.json cannot be read: JSONDecodeError: Expecting property name enclosed in double "
        "quotes: line 1 column 2 (char 1)",
        f"damaged: {outputs[0].name} measure: notes.txt does not belong to it",
        f"damaged: {outputs[1].name}: it is a file or a link, not a folder",
        "damaged: artifacts/READ\\x1b[2JME: it is not an artifact and does not belong here",
        f"damaged: artifacts/{fits[0].name[:2]}/not-a-key: it is not an artifact and does not belong here",
    ])  # fmt: skip
    assert lines[-2].startswith(f"{store}: {len(list(store.glob('artifacts/??/????????????????*')))} artifacts")
    assert lines[-2].endswith("; 8 damaged")
    assert lines[-1] == "what needs a damaged artifact sets it aside and makes it anew"
    assert snapshot(store) == before


def test_what_verify_finds_is_what_the_next_run_mends(store, whole):
    rows = run(experiment(ANALYTIC), store=whole)
    damaged = folders(store)[::5]
    for folder in damaged:
        (folder / "manifest.json").write_text("[]")
    assert verify(store)[0] == 1
    with pytest.warns(UserWarning, match="is damaged") as warned:
        assert run(experiment(ANALYTIC), store=store).equals(rows)
    assert len(warned) == len(damaged) == len(list((store / "set-aside").iterdir()))
    assert verify(store)[0] == 0, "what was set aside is not part of the store any more"


def test_drafts_that_killed_runs_left_are_counted_and_those_being_built_are_not(store):
    for key in ("a" * 64, "b" * 64):
        (store / "drafts" / f"{key}-0").mkdir()
        (store / "locks" / f"{key}.lock").touch()
    (store / "drafts" / ("c" * 16 + "-0")).mkdir()  # as drafts were called once
    with FileLock(store / "locks" / f"{'a' * 64}.lock"):
        code, lines = verify(store)
    assert code == 0
    assert lines[1:] == ["2 drafts were left by killed runs; `autophagy gc` frees them"]


@pytest.mark.parametrize("there", ["nothing", "a file", "an empty folder"])
def test_what_is_no_store_is_refused_and_none_is_made(tmp_path, there):
    place = tmp_path / "store"
    if there == "a file":
        place.write_text("")
    elif there == "an empty folder":
        place.mkdir()
    before = snapshot(tmp_path)
    code, lines = verify(place)
    assert code == 2
    assert "".join(lines) == f"error: --store {place}: there is no store here: it has no folder 'artifacts'"
    assert snapshot(tmp_path) == before
    with pytest.raises(UserError, match="there is no store here"):
        to_check(place)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user, and may write and read everything itself")
@pytest.mark.parametrize(
    ("mode", "code", "said"),
    [
        (0o755, 0, "0 damaged"), (0o700, 2, "error: --store .: cannot be read: Permission denied"),
        (0o755, 1, "it cannot be read: PermissionError"),
    ],
    ids=["read only", "not readable", "in part not readable"],
)  # fmt: skip
def test_a_store_that_may_only_be_read_is_verified(store, mode, code, said):
    store.chmod(mode)
    if code == 1:
        folders(store)[0].chmod(0o700)
    (store / "drafts" / f"{'a' * 64}-0").mkdir()
    (store / "locks" / f"{'a' * 64}.lock").touch()
    script = (
        "import os; import autophagy.common.store.verify; from autophagy.common.cli.main import app\n"
        "os.setuid(65534); assert not os.access('.', os.W_OK); app()"
    )
    command = [sys.executable, "-c", script, "verify", "--store", "."]  # from inside: above it others may not look
    done = subprocess.run(command, cwd=store, capture_output=True, text=True)
    assert done.returncode == code, done.stderr
    assert said in done.stdout + done.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_a_finished_experiment_runs_again_in_a_store_that_may_only_be_read(store, whole):
    rows = run(experiment(ANALYTIC), store=whole)
    store.chmod(0o755)
    Ledger.of(experiment(ANALYTIC), store=store).note("a" * 64)  # of somebody who has not finished yet
    script = (
        "import os, sys; import autophagy.common.execution.scheduler, support.logging_generator; from autophagy import experiment, run\n"
        "from support.tiny import ANALYTIC\n"
        "run(experiment(ANALYTIC), store=sys.argv[1])  # imports everything\n"
        "os.setuid(65534); print(run(experiment(ANALYTIC), store='.').to_json(double_precision=15))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    command = [sys.executable, "-c", script, str(whole)]
    done = subprocess.run(command, cwd=store, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == rows.to_json(double_precision=15)
    assert len(list((store / "unfinished").iterdir())) == 1


def test_what_is_freed_or_mended_while_it_is_verified_is_not_called_damaged(store):
    found = to_check(store)
    checked = check(found)
    assert next(checked).fault == ""
    shutil.rmtree(found[1])
    assert [one.key for one in checked] == [path.name for path in found[2:]]


def small_files(folder, scratch):
    for name in "abcde":
        (folder / name).write_bytes(b"x" * 400)


@pytest.mark.slow
def test_a_big_store_is_verified_in_little_time_and_memory(tmp_path, monkeypatch):
    for module in (artifact_module, store_module):
        monkeypatch.setattr(module, "flush", lambda path: None)  # what is measured here is reading
    store = Store(tmp_path / "store")
    for number in range(BIG):
        store.make({"stage": "fit", "number": number}, small_files)
    place = next((tmp_path / "store").glob("artifacts/*/*/c"))
    place.write_bytes(b"y" * 400)
    started = time.monotonic()
    code = (
        "import re, resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)); from autophagy.common.cli.main import app\n"
        "try: app()\n"
        "finally: print(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1])"
    )
    done = subprocess.run([sys.executable, "-c", code, "verify", "--store", str(store.root)], capture_output=True, text=True)
    *lines, kilobytes = done.stdout.splitlines()
    assert done.returncode == 1, done.stderr
    assert lines[0] == f"damaged: {place.parent.name} fit: c does not have the bytes it was sealed with"
    assert lines[1].startswith(f"{store.root}: {BIG:,} artifacts") and lines[1].endswith("; 1 damaged")
    assert time.monotonic() - started < 20 + BIG / 200
    assert int(kilobytes) < 200_000


def test_verify_does_not_import_torch():
    code = "from autophagy.common.cli.main import app; import autophagy.common.store.verify, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
