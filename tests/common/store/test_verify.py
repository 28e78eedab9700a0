"""`autophagy verify` names every kind of damage, changes nothing, and handles large stores."""

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
from autophagy.common.store.verify import check_artifacts, paths_to_check
from filelock import FileLock
from support.commands import autophagy
from support.tiny import ANALYTIC, ROOT

LARGE_STORE = int(os.environ.get("AUTOPHAGY_BIG_STORE", "2000"))
"""Number of artifacts in the large store. 20,000 took 5 s and 85 MB."""


@pytest.fixture(scope="module")
def original_store(tmp_path_factory):
    """The store of a finished run."""
    folder = tmp_path_factory.mktemp("original")
    run(experiment(ANALYTIC), store=folder / "store")
    return folder / "store"


@pytest.fixture
def store(original_store, tmp_path):
    """A copy of the store that a test can change."""
    return shutil.copytree(original_store, tmp_path / "store")


def verify(store):
    """Exit code and output lines of `autophagy verify`."""
    result = autophagy("verify", "--store", store)
    return result.exit_code, result.output.splitlines()


def artifacts(store, stage=None):
    """The folders of all artifacts, or of those of a stage."""
    folders = sorted(store.glob("artifacts/*/*"))
    return [folder for folder in folders if stage in (None, json.loads((folder / "manifest.json").read_text())["recipe"]["stage"])]


def snapshot(store):
    """Time and size of every file, to detect changes."""
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_size) for path in store.rglob("*")}


def test_undamaged_store_passes_and_is_not_changed(store):
    before = snapshot(store)
    code, lines = verify(store)
    assert code == 0
    count, bytes_ = len(artifacts(store)), sum(path.stat().st_size for path in (store / "artifacts").rglob("*") if path.is_file())
    assert lines == [f"{store}: {count} artifacts, {bytes_ / 1000:.1f} kB; 0 damaged"]
    assert snapshot(store) == before


def test_each_damaged_artifact_is_named_with_key_and_stage(store):
    fits, samples, outputs = (artifacts(store, stage) for stage in ("fit", "sample", "measure"))
    with (fits[0] / "model" / "mean.npy").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        file.write(b"\x7f")
    (fits[1] / "seen.npy").unlink()
    with (samples[0] / "pool.arrow").open("r+b") as file:
        file.truncate(100)
    (samples[1] / "manifest.json").write_text("{")
    (outputs[0] / "notes.txt").write_text("not part of the artifact")
    shutil.move(outputs[1], store / "elsewhere")
    outputs[1].symlink_to(store / "elsewhere")
    (store / "artifacts" / "READ\x1b[2JME").write_text("")
    (fits[0].parent / "not-a-key").mkdir()
    before = snapshot(store)
    code, lines = verify(store)
    assert code == 1
    assert sorted(lines[:-2]) == sorted([
        f"damaged: {fits[0].name} fit: model/mean.npy does not match its digest in manifest.json",
        f"damaged: {fits[1].name} fit: seen.npy is missing",
        f"damaged: {samples[0].name} sample: pool.arrow does not match its digest in manifest.json",
        f"damaged: {samples[1].name}: manifest.json cannot be read: JSONDecodeError: Expecting property name enclosed in double "
        "quotes: line 1 column 2 (char 1)",
        f"damaged: {outputs[0].name} measure: notes.txt is not listed in manifest.json",
        f"damaged: {outputs[1].name}: it is a file or a symbolic link, not a folder",
        "damaged: artifacts/READ\\x1b[2JME: this path is not the path of an artifact",
        f"damaged: artifacts/{fits[0].name[:2]}/not-a-key: this path is not the path of an artifact",
    ])  # fmt: skip
    assert lines[-2].startswith(f"{store}: {len(list(store.glob('artifacts/??/????????????????*')))} artifacts")
    assert lines[-2].endswith("; 8 damaged")
    assert lines[-1] == "a run that needs a damaged artifact sets it aside and rebuilds it"
    assert snapshot(store) == before


def test_next_run_repairs_what_verify_reports(store, original_store):
    rows = run(experiment(ANALYTIC), store=original_store)
    damaged = artifacts(store)[::5]
    for folder in damaged:
        (folder / "manifest.json").write_text("[]")
    assert verify(store)[0] == 1
    with pytest.warns(UserWarning, match="is damaged") as warned:
        assert run(experiment(ANALYTIC), store=store).equals(rows)
    assert len(warned) == len(damaged) == len(list((store / "set-aside").iterdir()))
    assert verify(store)[0] == 0, "artifacts that were set aside are not checked"


def test_only_abandoned_drafts_are_counted(store):
    for key in ("a" * 64, "b" * 64):
        (store / "drafts" / f"{key}-0").mkdir()
        (store / "locks" / f"{key}.lock").touch()
    (store / "drafts" / ("c" * 16 + "-0")).mkdir()  # the name of drafts in early versions
    with FileLock(store / "locks" / f"{'a' * 64}.lock"):
        code, lines = verify(store)
    assert code == 0
    assert lines[1:] == ["2 drafts were left by killed runs; `autophagy gc` removes them"]


@pytest.mark.parametrize("existing", ["nothing", "file", "empty folder"])
def test_other_paths_are_rejected_and_no_store_is_created(tmp_path, existing):
    path = tmp_path / "store"
    if existing == "file":
        path.write_text("")
    elif existing == "empty folder":
        path.mkdir()
    before = snapshot(tmp_path)
    code, lines = verify(path)
    assert code == 2
    assert "".join(lines) == f"error: --store {path}: not a store, because it has no folder 'artifacts'"
    assert snapshot(tmp_path) == before
    with pytest.raises(UserError, match="not a store"):
        paths_to_check(path)


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user, and may write and read everything itself")
@pytest.mark.parametrize(
    ("mode", "code", "message"),
    [
        (0o755, 0, "0 damaged"), (0o700, 2, "error: --store .: cannot be read: Permission denied"),
        (0o755, 1, "it cannot be read: PermissionError"),
    ],
    ids=["read-only", "not readable", "partly not readable"],
)  # fmt: skip
def test_read_only_store_can_be_verified(store, mode, code, message):
    store.chmod(mode)
    if code == 1:
        artifacts(store)[0].chmod(0o700)
    (store / "drafts" / f"{'a' * 64}-0").mkdir()
    (store / "locks" / f"{'a' * 64}.lock").touch()
    script = (
        "import os, rich.console, rich.filesize, autophagy.common.store.verify; from autophagy.common.cli.main import app\n"
        "os.setuid(65534); assert not os.access('.', os.W_OK); app()"
    )
    command = [sys.executable, "-c", script, "verify", "--store", "."]  # run inside the store: other users cannot access its parent
    process = subprocess.run(command, cwd=store, capture_output=True, text=True)
    assert process.returncode == code, process.stderr
    assert message in process.stdout + process.stderr


@pytest.mark.skipif(os.getuid() != 0, reason="only root can become another user")
def test_finished_experiment_runs_again_in_a_read_only_store(store, original_store):
    rows = run(experiment(ANALYTIC), store=original_store)
    store.chmod(0o755)
    config = experiment(ANALYTIC)
    Ledger.of(config.name, config.yaml(), store=store).add("a" * 64)  # as if another process were running it
    script = (
        "import os, sys; import autophagy.common.execution.scheduler, support.logging_generator; from autophagy import experiment, run\n"
        "from support.tiny import ANALYTIC\n"
        "from autophagy.common.core.resources import processors\n"
        "run(experiment(ANALYTIC), store=sys.argv[1]), processors()  # imports everything\n"
        "os.setuid(65534); print(run(experiment(ANALYTIC), store='.').to_json(double_precision=15))"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT / "tests")}
    command = [sys.executable, "-c", script, str(original_store)]
    process = subprocess.run(command, cwd=store, env=environment, capture_output=True, text=True)
    assert process.returncode == 0, process.stderr
    assert process.stdout.strip() == rows.to_json(double_precision=15)
    assert len(list((store / "unfinished").iterdir())) == 1


def test_artifact_removed_during_verify_is_not_reported(store):
    paths = paths_to_check(store)
    results = check_artifacts(paths)
    assert next(results).fault == ""
    shutil.rmtree(paths[1])
    assert [result.key for result in results] == [path.name for path in paths[2:]]


def small_files(folder, scratch):
    for name in "abcde":
        (folder / name).write_bytes(b"x" * 400)


@pytest.mark.slow
def test_large_store_is_verified_in_little_time_and_memory(tmp_path, monkeypatch):
    for module in (artifact_module, store_module):
        monkeypatch.setattr(module, "flush", lambda path: None)  # only reading is measured here
    store = Store(tmp_path / "store")
    for number in range(LARGE_STORE):
        store.make({"stage": "fit", "number": number}, small_files)
    damaged = next((tmp_path / "store").glob("artifacts/*/*/c"))
    damaged.write_bytes(b"y" * 400)
    started = time.monotonic()
    code = (
        "import re, resource; resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64)); from autophagy.common.cli.main import app\n"
        "try: app()\n"
        "finally: print(re.search(r'VmHWM:\\s+(\\d+) kB', open('/proc/self/status').read())[1])"
    )
    process = subprocess.run([sys.executable, "-c", code, "verify", "--store", str(store.root)], capture_output=True, text=True)
    *lines, kilobytes = process.stdout.splitlines()
    assert process.returncode == 1, process.stderr
    assert lines[0] == f"damaged: {damaged.parent.name} fit: c does not match its digest in manifest.json"
    assert lines[1].startswith(f"{store.root}: {LARGE_STORE:,} artifacts") and lines[1].endswith("; 1 damaged")
    assert time.monotonic() - started < 20 + LARGE_STORE / 200
    assert int(kilobytes) < 200_000


def test_verify_does_not_import_torch():
    code = "from autophagy.common.cli.main import app; import autophagy.common.store.verify, sys; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
