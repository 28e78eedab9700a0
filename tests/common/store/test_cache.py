"""The store builds each artifact once, and notices, reports and repairs every kind of damage."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from autophagy import Store, UserError, experiment, run
from autophagy.common.core.canonical_json import canonical_json
from autophagy.common.core.provenance import provenance
from autophagy.common.store import ArtifactMissing
from autophagy.common.store import artifact as artifact_module
from autophagy.common.store import cache as store_module
from autophagy.common.store.artifact import drop, key_of, read_manifest, seal_of
from support.power_cut import power_cut
from support.tiny import ANALYTIC


def writes(text):
    return lambda folder, scratch: (folder / "a.txt").write_text(text)


def must_not_build(folder, scratch):
    raise AssertionError("the artifact was built a second time")


def test_artifact_is_built_once(tmp_path):
    store = Store(tmp_path)
    artifact = store.make({"x": 1}, writes("one"))
    assert store.make({"x": 1}, must_not_build).digest == artifact.digest
    assert Store(tmp_path).make({"x": 1}, must_not_build).digest == artifact.digest
    assert store.find({"x": 2}) is None


def test_key_depends_on_the_recipe_and_digest_on_the_bytes(tmp_path):
    store = Store(tmp_path)
    one, two, three = (store.make({"x": x}, writes(text)) for x, text in ((1, "same"), (2, "same"), (3, "other")))
    assert one.key != two.key
    assert one.digest == two.digest != three.digest


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({"x": object()}, "recipe.x has the type object, but values in a recipe must be JSON values"),
        ({"x": [1, {"y": float("nan")}]}, r"recipe.x\[1\].y is nan, but numbers in a recipe must be finite"),
        ({"x": {1: 2}}, "recipe.x has the key 1 of type int, but keys must be strings"),
        ({"x": np.float64(1)}, None),
        ({"x": {1, 2}}, "recipe.x has the type set"),
        ({"x": np.arange(2)}, "recipe.x has the type ndarray"),
    ],
)
def test_recipe_without_canonical_json_is_rejected(recipe, message):
    if message is None:
        canonical_json(recipe)  # numpy's float64 is a float
        return
    with pytest.raises(ValueError, match=message):
        key_of(recipe)


def test_key_depends_on_types_and_not_on_order():
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
    assert len({key_of({"a": value}) for value in (1, 1.0, "1", True, None, [1])}) == 6


# ---- damage -----------------------------------------------------------------------------------------------------------


def outside_of(folder: Path) -> Path:
    """An unused path outside the store that the artifact belongs to."""
    return folder.parents[2] / "outside"


def write(name: str, text: str, folder: Path) -> None:
    (folder / name).write_text(text)


def delete(name: str, folder: Path) -> None:
    (folder / name).unlink()


def replace_by_link(name: str, folder: Path) -> None:
    shutil.move(folder / name, outside_of(folder))
    (folder / name).symlink_to(outside_of(folder))


def edit_manifest(folder: Path, **changes: Any) -> None:
    manifest = folder / "manifest.json"
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | changes))


def edits(**changes: Any) -> Callable[[Path], None]:
    return partial(edit_manifest, **changes)


def halve_manifest(folder: Path) -> None:
    write("manifest.json", (folder / "manifest.json").read_text()[:40], folder)


def nest_manifest(folder: Path) -> None:
    write("manifest.json", '{"format": 2, "recipe": ' + '{"x":' * 10**6, folder)


def inflate_manifest(folder: Path) -> None:
    with (folder / "manifest.json").open("wb") as file:
        file.truncate(2**36)  # reading it would take all memory


def edit_versions(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    edit_manifest(folder, provenance={**manifest["provenance"], "torch": "9.9"})


def list_foreign_file(folder: Path) -> None:
    """List a file outside the artifact, with a correct seal."""
    edit_manifest(folder, files={"../../../outside": {"sha256": "", "bytes": 1}})
    manifest = json.loads((folder / "manifest.json").read_text())
    edit_manifest(folder, seal=seal_of(manifest))


def empty_folder(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


def folder_to_file(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.write_text("one")


def folder_to_link(folder: Path) -> None:
    shutil.move(folder, outside_of(folder))
    folder.symlink_to(outside_of(folder))


def folder_to_broken_link(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.symlink_to(outside_of(folder))


def file_to_folder(folder: Path) -> None:
    (folder / "a.txt").unlink()
    (folder / "a.txt" / "b").mkdir(parents=True)


def add_link_to_folder(folder: Path) -> None:
    outside_of(folder).mkdir()
    (folder / "b").symlink_to(outside_of(folder))


def file_to_pipe(folder: Path) -> None:
    (folder / "a.txt").unlink()
    os.mkfifo(folder / "a.txt")  # opening it would block forever


flip_byte = partial(write, "a.txt", "onf")
link_manifest = partial(replace_by_link, "manifest.json")

DAMAGE: Mapping[str, tuple[Callable[[Path], None], str]] = {
    "flipped byte": (flip_byte, "a.txt does not match its digest"),
    "truncated file": (partial(write, "a.txt", "o"), "a.txt does not match its digest"),
    "deleted file": (partial(delete, "a.txt"), "a.txt is missing"),
    "added file": (partial(write, "b.txt", "not part of the artifact"), "b.txt is not listed in manifest.json"),
    "file to link": (partial(replace_by_link, "a.txt"), "a.txt is not a regular file"),
    "file to folder": (file_to_folder, "a.txt is missing"),
    "file to pipe": (file_to_pipe, "a.txt is not a regular file"),
    "added link to a folder": (add_link_to_folder, "b is not a regular file"),
    "empty folder": (empty_folder, "manifest.json cannot be read: FileNotFoundError"),
    "folder to file": (folder_to_file, "a file or a symbolic link, not a folder"),
    "folder to link": (folder_to_link, "a file or a symbolic link, not a folder"),
    "folder to broken link": (folder_to_broken_link, "a file or a symbolic link, not a folder"),
    "no manifest": (partial(delete, "manifest.json"), "manifest.json cannot be read: FileNotFoundError"),
    "half a manifest": (halve_manifest, "manifest.json cannot be read: JSONDecodeError"),
    "manifest to link": (link_manifest, "manifest.json is not a regular file"),
    "nested manifest": (nest_manifest, "manifest.json cannot be read: RecursionError"),
    "huge manifest": (inflate_manifest, "longer than 16,777,216 bytes"),
    "manifest is a list": (partial(write, "manifest.json", "[1]"), "manifest.json cannot be read: TypeError"),
    "newer format": (edits(format=99, files=None), "manifest.json has format 99, this version reads format 2"),
    "edited recipe": (edits(recipe={"x": 2}), "the hash of its recipe is not its key"),
    "recipe with NaN": (edits(recipe={"x": float("nan")}), "recipe.x is nan"),
    "smaller key": (edits(key="0" * 64), "the hash of its recipe is not its key"),
    "greater key": (edits(key="f" * 64), "the hash of its recipe is not its key"),
    "files are a list": (edits(files=[]), "manifest.json is invalid: files: Input should be"),
    "file without a digest": (edits(files={"a.txt": {"bytes": 3}}), r"files.a.txt.sha256: Field required"),
    "dropped is a string": (edits(files={"a.txt": {"dropped": "yes"}}), "files.a.txt"),
    "no seconds": (edits(provenance={}), "provenance.seconds: Field required"),
    "file outside the artifact": (list_foreign_file, "../outside is missing"),
    "other versions": (edit_versions, "manifest.json does not match its seal"),
}
"""A function that damages the artifact in a folder, and a part of the fault that is reported."""


@pytest.mark.parametrize("kind", DAMAGE)
@pytest.mark.parametrize("process", ["another", "the same"])
def test_damaged_artifact_is_reported_set_aside_and_rebuilt(tmp_path, kind, process):
    store = Store(tmp_path / "store")
    artifact = store.make({"x": 1}, writes("one"))
    damage, fault = DAMAGE[kind]
    damage(artifact.folder)
    (tmp_path / "unrelated").write_text("not part of the store")
    outside = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*") if "store" not in path.parts}
    if process == "another":
        store = Store(tmp_path / "store")
    with pytest.warns(
        UserWarning, match=rf"artifact {artifact.key[:16]} is damaged \(.*{fault}.*moved to .*set-aside.* and will be rebuilt"
    ):
        rebuilt = store.make({"x": 1}, writes("one"))
    assert rebuilt.digest == artifact.digest
    assert store.make({"x": 1}, must_not_build) is rebuilt
    assert len(list((tmp_path / "store" / "set-aside").iterdir())) == 1
    assert outside == {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*") if "store" not in path.parts}


def test_byte_flipped_under_a_running_process_is_noticed(tmp_path):
    store = Store(tmp_path)
    artifact = store.make({"x": 1}, writes("one"))
    before = (artifact.folder / "a.txt").stat()
    flip_byte(artifact.folder)
    os.utime(artifact.folder / "a.txt", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.find({"x": 1}) is None


def test_touched_file_is_verified_again_and_kept(tmp_path):
    store = Store(tmp_path)
    artifact = store.make({"x": 1}, writes("one"))
    (artifact.folder / "a.txt").touch()
    assert not artifact.unchanged
    assert store.make({"x": 1}, must_not_build).unchanged


def test_set_aside_artifacts_keep_their_bytes(tmp_path):
    artifact = Store(tmp_path).make({"x": 1}, writes("one"))
    for damaged in ("first", "second"):
        (artifact.folder / "a.txt").write_text(damaged)
        with pytest.warns(UserWarning, match="is damaged"):
            Store(tmp_path).make({"x": 1}, writes("one"))
    assert {(path / "a.txt").read_text() for path in (tmp_path / "set-aside").iterdir()} == {"first", "second"}


@pytest.mark.parametrize("obstacle", ["file", "broken link"])
def test_damaged_artifact_that_cannot_be_moved_stops_and_stays(tmp_path, obstacle):
    artifact = Store(tmp_path).make({"x": 1}, writes("one"))
    flip_byte(artifact.folder)
    if obstacle == "file":
        (tmp_path / "set-aside").write_text("")
    else:
        (tmp_path / "set-aside").symlink_to(tmp_path / "missing" / "target")
    message = rf"artifact {artifact.key[:16]} is damaged \(a.txt .*cannot be moved to .*set-aside.*: File exists"
    with pytest.raises(UserError, match=message):
        Store(tmp_path).make({"x": 1}, writes("one"))
    assert (artifact.folder / "a.txt").read_text() == "onf"
    assert not list((tmp_path / "drafts").iterdir())


@pytest.mark.parametrize("place", ["lock", "lock folder", "scratch", "prefix", "prefix file"])
def test_link_where_the_store_writes_is_rejected(tmp_path, place):
    store, outside, key = Store(tmp_path / "store"), tmp_path / "outside", key_of({"x": 1})
    outside.mkdir()
    (outside / "file").write_text("not part of the store")
    if place == "lock":
        (store.root / "locks" / f"{key}.lock").symlink_to(outside / "file")
    elif place == "lock folder":
        (store.root / "locks" / f"{key}.lock").mkdir()
    elif place == "scratch":
        (store.root / "scratch" / key).symlink_to(outside)
    elif place == "prefix":
        (store.root / "artifacts" / key[:2]).symlink_to(outside)
    else:
        (store.root / "artifacts" / key[:2]).write_text("")
    with pytest.raises(UserError, match=r"^--store .*(is a symbolic link|cannot be written: (Too many|Is a dir|File exists))"):
        store.make({"x": 1}, writes("one"))
    assert [path.name for path in outside.iterdir()] == ["file"]
    assert (outside / "file").read_text() == "not part of the store"
    assert not list((store.root / "drafts").iterdir())


# ---- manifests --------------------------------------------------------------------------------------------------------


def test_every_flipped_bit_of_a_manifest_is_noticed(tmp_path):
    artifact = Store(tmp_path).make({"x": 1, "y": ["ä", 0.1]}, writes("one"), provenance=provenance())
    path = artifact.folder / "manifest.json"
    raw = path.read_bytes()
    assert len(raw) > 500
    for position, bit in product(range(len(raw)), range(8)):
        path.write_bytes(raw[:position] + bytes([raw[position] ^ 1 << bit]) + raw[position + 1 :])
        assert read_manifest(artifact.folder, key=artifact.key)[0] is None, path.read_bytes()[position - 20 : position + 20]
    path.write_bytes(raw)
    assert read_manifest(artifact.folder, key=artifact.key) == (artifact.manifest, "")


@pytest.mark.parametrize("damage", [folder_to_link, link_manifest], ids=["folder", "manifest"])
def test_reading_only_a_manifest_follows_no_link(tmp_path, damage):
    artifact = Store(tmp_path).make({"x": 1}, writes("one"))
    assert read_manifest(artifact.folder, key=artifact.key) == (artifact.manifest, "")
    damage(artifact.folder)
    assert read_manifest(artifact.folder, key=artifact.key) == (None, "manifest.json is not a regular file")


def test_manifest_over_the_size_limit_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(artifact_module, "MANIFEST_BYTES", 1000)
    with pytest.raises(UserError, match=r"the manifest of an artifact .* has 1,\d{3} bytes; the limit is 1,000"):
        Store(tmp_path).make({"x": "x" * 1000}, writes("one"))
    assert not list((tmp_path / "drafts").iterdir())
    assert Store(tmp_path).make({"x": "x"}, writes("one")) == Store(tmp_path).find({"x": "x"})


def test_build_that_writes_a_link_is_rejected(tmp_path):
    def build(folder, scratch):
        (folder / "weights").symlink_to(tmp_path)

    with pytest.raises(UserError, match="the build wrote weights, which is not a regular file"):
        Store(tmp_path).make({"x": 1}, build)
    assert Store(tmp_path).find({"x": 1}) is None


# ---- artifacts that disappear -----------------------------------------------------------------------------------------


def delete_and_read(folder):
    shutil.rmtree(folder)
    (folder / "a.txt").read_text()


def test_reading_tells_lost_artifacts_from_other_errors(tmp_path):
    store = Store(tmp_path)
    artifact = store.make({"x": 1}, writes("one"))
    with pytest.raises(ZeroDivisionError), store.reading(artifact):
        _ = 1 / 0
    with pytest.raises(ArtifactMissing, match="disappeared from the store while it was in use"), store.reading(artifact):
        (artifact.folder / "a.txt").write_text("changed while it was read, without an error")
    artifact = store.make({"x": 2}, writes("two"))
    message = f"artifact {artifact.key[:16]} disappeared from the store while it was in use"
    with pytest.raises(ArtifactMissing, match=message) as raised, store.reading(artifact):
        delete_and_read(artifact.folder)
    assert isinstance(raised.value.__cause__, FileNotFoundError)
    with pytest.raises(ArtifactMissing), store.reading(artifact):
        raise AssertionError("the block must not run without the artifact")


def test_artifact_deleted_right_after_its_build_is_missing(tmp_path):
    keys = []

    def on_use(key):
        keys.append(key)
        if len(keys) == 3:  # lookup, lookup with the lock, lookup after the build
            shutil.rmtree(tmp_path / "artifacts" / key[:2] / key)

    with pytest.raises(ArtifactMissing):
        Store(tmp_path, on_use=on_use).make({"x": 1}, writes("one"))
    assert keys == [key_of({"x": 1})] * 3


def test_artifact_dropped_by_another_process_is_accepted(tmp_path):
    def with_weights(folder, scratch):
        (folder / "model").mkdir()
        (folder / "model" / "weights").write_text("old")

    artifact, hidden, keys = Store(tmp_path).make({"x": 1}, with_weights), tmp_path / "hidden", []
    drop(artifact.folder, artifact.manifest, "model", draft=tmp_path / "draft")
    artifact.folder.rename(hidden)

    def on_use(key):
        keys.append(key)
        if len(keys) == 2:  # as if another process finished it before this one got the lock
            hidden.rename(artifact.folder)

    assert Store(tmp_path, on_use=on_use).make({"x": 1}, must_not_build).has_dropped_files


@pytest.mark.parametrize("other", ["a.txt", "model.txt"])
def test_only_dropped_files_can_be_missing(tmp_path, other):
    def with_weights(folder, scratch):
        (folder / "model").mkdir()
        for name in ("a.txt", "model.txt", "model/weights"):
            (folder / name).write_text(name)

    artifact = Store(tmp_path).make({"x": 1}, with_weights)
    drop(artifact.folder, artifact.manifest, "model", draft=tmp_path / "draft")
    dropped = Store(tmp_path).find({"x": 1})
    assert dropped.has_dropped_files and dropped.digest == artifact.digest and not (artifact.folder / "model").exists()
    (artifact.folder / other).write_text("other bytes")
    assert Store(tmp_path).find({"x": 1}) is None
    (artifact.folder / other).unlink()
    assert Store(tmp_path).find({"x": 1}) is None


def test_missing_artifact_error_can_be_pickled():
    error = pickle.loads(pickle.dumps(ArtifactMissing("a" * 64)))
    assert error.key == "a" * 64 and "a" * 16 in str(error)


# ---- builds -----------------------------------------------------------------------------------------------------------


def test_failed_build_leaves_only_its_scratch_folder(tmp_path):
    def fails(folder, scratch):
        (folder / "a.txt").write_text("half")
        (scratch / "progress").write_text("half")
        raise ZeroDivisionError

    def resumes(folder, scratch):
        (folder / "a.txt").write_text((scratch / "progress").read_text() + " and half")

    store = Store(tmp_path)
    with pytest.raises(ZeroDivisionError):
        store.make({"x": 1}, fails)
    assert not list((tmp_path / "drafts").iterdir())
    assert (store.make({"x": 1}, resumes).folder / "a.txt").read_text() == "half and half"
    assert not list((tmp_path / "scratch").iterdir())


def test_manifest_records_seconds_and_peak_memory(tmp_path):
    rss = psutil.Process().memory_info().rss
    recorded = Store(tmp_path).make({"x": 1}, writes("one"), provenance={"by": "hand"}).manifest["provenance"]
    assert recorded.keys() == {"by", "seconds", "peak_bytes"}
    assert 0.9 * rss < recorded["peak_bytes"] < psutil.virtual_memory().total


def test_everything_is_flushed_before_the_rename_and_names_after(tmp_path, monkeypatch):
    """The effect of a power cut cannot be tested here; the order of fsync and rename calls can."""
    calls, rename, fsync = [], os.rename, os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: [calls.append(os.path.realpath(f"/proc/self/fd/{file}")), fsync(file)])
    monkeypatch.setattr(os, "rename", lambda old, new: [calls.append(f"{old} -> {new}"), rename(old, new)])

    def build(folder, scratch):
        (folder / "model" / "deep").mkdir(parents=True)
        for name in ("a.txt", "model/deep/b.txt"):
            (folder / name).write_text(name)

    artifact = Store(tmp_path).make({"x": 1}, build)
    before, (renamed, *after) = calls[:-3], calls[-3:]
    draft = renamed.partition(" -> ")[0]
    assert renamed == f"{draft} -> {artifact.folder}"
    assert after == [str(tmp_path / "artifacts" / artifact.key[:2]), str(tmp_path / "artifacts")]
    names = ("", "/manifest.json", "/a.txt", "/model", "/model/deep", "/model/deep/b.txt")
    assert set(before) == {f"{draft}{name}" for name in names}


def test_threads_and_stores_build_a_shared_artifact_once(tmp_path):
    builds = []

    def build(folder, scratch):
        builds.append(1)
        (folder / "a.txt").write_text("one")

    with ThreadPoolExecutor(8) as threads:
        digests = set(threads.map(lambda _: Store(tmp_path).make({"x": 1}, build).digest, range(24)))
    assert len(builds) == 1
    assert len(digests) == 1


def test_lookup_without_the_lock_sets_nothing_aside(tmp_path):
    artifact = Store(tmp_path).make({"x": 1}, writes("one"))
    flip_byte(artifact.folder)
    assert Store(tmp_path).find({"x": 1}) is None
    assert artifact.folder.exists(), "only a builder, which holds the lock, sets artifacts aside"


def test_path_that_cannot_be_a_store_is_rejected(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be used as a store"):
        Store(tmp_path / "file" / "store")


@pytest.mark.slow
def test_crash_anywhere_while_sealing_changes_no_rows(tmp_path, monkeypatch):
    """Cut the power before the k-th call that seals an artifact, for many k, then run again: the rows are the same."""
    config = experiment(ANALYTIC)
    rows = run(config, store=tmp_path / "undisturbed", workers=1)
    calls = [(store_module.os, "rename"), (store_module.os, "fsync"), (store_module, "seal")]
    limit, cut = 0, True
    while cut:
        limit += 13  # steps of 13 reach every kind of call, since an artifact takes 6 or 11 calls
        store = tmp_path / f"cut-{limit}"
        with monkeypatch.context() as patched:
            patched.setattr(store_module.shutil, "rmtree", lambda *args, **kwargs: None)  # a dead process cleans up nothing
            cut = power_cut(lambda store=store: run(config, store=store, workers=1), at=limit, calls=calls)
        assert run(config, store=store, workers=1).equals(rows), f"other rows after a crash at call {limit}"
    assert limit > 15 * 13
    assert not any(re.search("draft", str(path)) for path in (tmp_path / "undisturbed" / "artifacts").rglob("*"))
