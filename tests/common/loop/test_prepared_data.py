"""Data sets that read files: their splits are an artifact of the store, which is built once and again after any change of a file."""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest
from autophagy import UserError, experiment, run
from autophagy.common.core import file_digests as digests_module
from autophagy.common.core.file_digests import file_digests
from autophagy.common.execution import scheduler
from autophagy.common.execution.cost_estimate import estimate_cost
from autophagy.common.loop.prepared_data import progress_reports
from autophagy.common.loop.stages import Stages
from autophagy.common.store import ArtifactMissing, Store
from autophagy.common.store.garbage_collection import plan_collection, remove_items
from autophagy.common.store.layout import artifact_paths
from autophagy.common.store.read_only import ArtifactNotBuilt, ReadOnlyStore
from autophagy.common.store.verify import check_artifacts, paths_to_check
from autophagy.vision.data import ImageFolder
from PIL import Image


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def photos(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(14):
        file = tmp_path / "photos" / f"class-{number % 2}" / f"{number:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8)).save(file)
        os.utime(file, ns=(10**18, 10**18))
    return tmp_path / "photos"


def config(photos, **changes):
    return experiment({
        "name": "photos", "generations": 1, "size": 6, "eval_size": 3, "policies": ["replace"], "metrics": ["pixel-variance"],
        "data": {"use": "image-folder", "path": str(photos), "size": 4}, "generator": {"use": "gmm", "components": 1, "dimensions": 2},
        **changes,
    })  # fmt: skip


def splits(photos, store, **changes):
    return Stages(config(photos, **changes), Store(store)).real.splits


def digests(pools):
    return {name: pool.digest for name, pool in pools.items()}


def folder_of_data(store):
    return next(one.path for one in check_artifacts(paths_to_check(store)) if one.stage == "data")


def no_reading(*_, **__):
    raise AssertionError("the image files were read again")


def test_files_are_read_once(photos, tmp_path, monkeypatch):
    first, direct = splits(photos, tmp_path / "store"), ImageFolder(path=str(photos), size=4).load(eval_size=3)
    assert digests(first) == {**digests(direct), "features": direct["train"].digest}
    assert all(first[name].table.equals(pool.table) for name, pool in direct.items()), "labels and notes are kept too"
    monkeypatch.setattr(ImageFolder, "load", no_reading)
    again = splits(photos, tmp_path / "store")
    assert digests(again) == digests(first)
    with pytest.raises(AssertionError, match="read again"):
        splits(photos, tmp_path / "store", eval_size=2)


@pytest.mark.parametrize("change", ["changed", "added", "removed", "renamed"])
def test_a_change_of_the_files_gives_a_new_artifact(photos, tmp_path, change):
    file = photos / "class-0" / "00.png"
    before = splits(photos, tmp_path / "store")
    if change == "changed":  # the same size and modification time: the change time differs
        content = bytearray(file.read_bytes())
        Image.fromarray(np.zeros((6, 6, 3), np.uint8)).save(file)
        file.write_bytes(file.read_bytes().ljust(len(content), b"\0")[: len(content)])
        os.utime(file, ns=(10**18, 10**18))
    elif change == "added":
        Image.fromarray(np.zeros((6, 6, 3), np.uint8)).save(photos / "class-1" / "new.png")
    elif change == "removed":
        file.unlink()
    else:
        (photos / "class-2").mkdir()
        file.rename(photos / "class-2" / "00.png")
    after = splits(photos, tmp_path / "store")
    assert digests(after) != digests(before)
    assert digests(after)["train"] == ImageFolder(path=str(photos), size=4).load(eval_size=3)["train"].digest
    assert len(list(artifact_paths(tmp_path / "store"))) == 2


def test_files_that_change_while_they_are_read_stop_the_run(photos, tmp_path, monkeypatch):
    load = ImageFolder.load

    def load_and_change(self, **options):
        pools = load(self, **options)
        Image.fromarray(np.zeros((5, 5, 3), np.uint8)).save(photos / "class-0" / "00.png")
        return pools

    monkeypatch.setattr(ImageFolder, "load", load_and_change)
    with pytest.raises(UserError, match="data 'image-folder': its files changed while they were read; run the same command again"):
        splits(photos, tmp_path / "store")
    assert list(artifact_paths(tmp_path / "store")) == []


def test_a_damaged_artifact_is_set_aside_and_rebuilt(photos, tmp_path):
    before, store = digests(splits(photos, tmp_path / "store")), tmp_path / "store"
    pool = folder_of_data(store) / "train" / "pool.arrow"
    pool.write_bytes(pool.read_bytes()[:-1] + b"x")
    with pytest.raises(ArtifactNotBuilt):
        _ = Stages(config(photos), ReadOnlyStore(store)).real.splits
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert digests(splits(photos, store)) == before
    assert any("train/pool.arrow does not match its digest" in str(warning.message) for warning in caught)
    assert len(list((store / "set-aside").iterdir())) == 1


def test_an_artifact_that_disappears_is_rebuilt_in_a_restart(photos, tmp_path):
    store, out = tmp_path / "store", tmp_path / "out"
    stages = Stages(config(photos), Store(store))
    before = digests(stages.real.splits)
    key = folder_of_data(store).name
    folder_of_data(store).rename(out)
    stages.reset_after_loss(ArtifactMissing(key))
    assert digests(stages.real.splits) == before and folder_of_data(store).is_dir()


def test_a_finished_run_is_looked_up_kept_and_estimated(photos, tmp_path, monkeypatch):
    store, out = tmp_path / "store", tmp_path / "out"
    rows = run(config(photos), store=store, out=out)
    data = folder_of_data(store)
    plan = plan_collection(store, [out / "photos"])
    assert not list(remove_items(plan)) and data.is_dir()
    monkeypatch.setattr(ImageFolder, "load", no_reading)
    monkeypatch.setattr(scheduler, "executor", no_reading)
    assert run(config(photos), store=store, out=out).equals(rows)
    estimate = estimate_cost(config(photos), store)
    assert (estimate.missing, estimate.finished, estimate.rows["train"]) == (0, 2, 8)
    assert not [one.fault for one in check_artifacts(paths_to_check(store)) if one.fault]


def test_a_dry_run_without_a_store_reads_the_files_and_creates_nothing(photos, tmp_path):
    assert estimate_cost(config(photos), tmp_path / "store").rows["train"] == 8
    assert not (tmp_path / "store").exists()
    Store(tmp_path / "empty")
    assert estimate_cost(config(photos), tmp_path / "empty").rows["train"] == 8
    assert list(artifact_paths(tmp_path / "empty")) == []


# ---- digests ----------------------------------------------------------------------------------------------------------


def files_of(photos):
    return ImageFolder(path=str(photos)).source_files()


def test_digests_are_remembered_for_files_that_are_not_fresh(photos, monkeypatch):
    files, hashed = files_of(photos), []
    digest = digests_module.hashlib.file_digest
    monkeypatch.setattr(digests_module.hashlib, "file_digest", lambda file, kind: hashed.append(file.name) or digest(file, kind))
    first = file_digests(files)
    assert file_digests(files) == first
    assert len(hashed) == 28, "the files were created just now, so their digests are not trusted"
    monkeypatch.setattr(digests_module, "FRESH_NS", 0)
    file_digests(files)
    hashed.clear()
    assert file_digests(files) == first and hashed == []


@pytest.mark.parametrize("content", [b"", b"[1]", b'{"a": 1}', b"\xff", b"[" * 100_000])
def test_damaged_memory_of_digests_is_ignored(photos, cache, monkeypatch, content):
    monkeypatch.setattr(digests_module, "FRESH_NS", 0)
    first = file_digests(files_of(photos))
    [memory] = (cache / "autophagy" / "digests").iterdir()
    memory.write_bytes(content)
    assert file_digests(files_of(photos)) == first


def test_unreadable_files_are_named_and_counted(photos):
    for number in range(5):
        (photos / f"broken-{number}.png").symlink_to("nowhere.png")
    with pytest.raises(UserError, match=r"data: 5 of 19 files cannot be read; repair or remove them:\n.*broken-0\.png") as caught:
        file_digests(files_of(photos))
    assert "broken-2.png" in str(caught.value) and "broken-3.png" not in str(caught.value)
    assert str(caught.value).endswith("and 2 more")


def test_progress_shows_files_and_time_left_at_most_twice_per_second(monkeypatch):
    now, reports = [0.0], []
    monkeypatch.setattr("time.monotonic", lambda: now[0])
    update = progress_reports(reports.append, "read the data")
    for done in range(1, 1501):
        now[0] = done / 100
        update(done, 1500)
    assert len(reports) == 30
    assert reports[0] == "read the data: 50 of 1,500 files, about 14 s left"
