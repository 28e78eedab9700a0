from __future__ import annotations

import json
import os
import pickle
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from itertools import product

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


def refuses(folder, scratch):
    raise AssertionError("was built a second time")


def test_an_artifact_is_built_once(tmp_path):
    store = Store(tmp_path)
    generated = store.make({"x": 1}, writes("one"))
    assert store.make({"x": 1}, refuses).digest == generated.digest
    assert Store(tmp_path).make({"x": 1}, refuses).digest == generated.digest
    assert store.find({"x": 2}) is None


def test_the_digest_is_of_the_bytes_and_the_key_of_the_recipe(tmp_path):
    store = Store(tmp_path)
    one, two, three = (store.make({"x": x}, writes(text)) for x, text in ((1, "same"), (2, "same"), (3, "other")))
    assert one.key != two.key
    assert one.digest == two.digest != three.digest


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"x": object()}, "recipe.x is a object"),
        ({"x": [1, {"y": float("nan")}]}, r"recipe.x\[1\].y is nan"),
        ({"x": {1: 2}}, "recipe.x has the key 1"),
        ({"x": np.float64(1)}, None),
        ({"x": {1, 2}}, "recipe.x is a set"),
        ({"x": np.arange(2)}, "recipe.x is a ndarray"),
    ],
)
def test_what_cannot_be_hashed_is_refused_by_name(recipe, said):
    if said is None:
        canonical_json(recipe)  # numpy's float64 is a float
        return
    with pytest.raises(ValueError, match=said):
        key_of(recipe)


def test_keys_do_not_depend_on_order_and_do_depend_on_type():
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
    assert len({key_of({"a": value}) for value in (1, 1.0, "1", True, None, [1])}) == 6


def damage(kind, folder):
    manifest, outside = folder / "manifest.json", folder.parents[2] / "outside"
    if kind == "flipped byte":
        (folder / "a.txt").write_text("onf")
    elif kind == "truncated":
        (folder / "a.txt").write_text("o")
    elif kind == "deleted":
        (folder / "a.txt").unlink()
    elif kind == "foreign":
        (folder / "b.txt").write_text("who put me here")
    elif kind == "no manifest":
        manifest.unlink()
    elif kind == "half a manifest":
        manifest.write_text(manifest.read_text()[:40])
    elif kind == "empty":
        shutil.rmtree(folder)
        folder.mkdir()
    elif kind == "a file":
        shutil.rmtree(folder)
        folder.write_text("one")
    elif kind == "a link":
        shutil.move(folder, outside)
        folder.symlink_to(outside)
    elif kind == "a link to nothing":
        shutil.rmtree(folder)
        folder.symlink_to(outside)
    elif kind in ("a file is a link", "the manifest is a link"):
        path = manifest if "manifest" in kind else folder / "a.txt"
        shutil.move(path, outside)
        path.symlink_to(outside)
    elif kind == "a file is a folder":
        (folder / "a.txt").unlink()
        (folder / "a.txt" / "b").mkdir(parents=True)
    elif kind == "a link to a folder":
        outside.mkdir()
        (folder / "b").symlink_to(outside)
    elif kind == "a pipe":
        (folder / "a.txt").unlink()
        os.mkfifo(folder / "a.txt")  # opening it would wait for ever
    elif kind == "deep":
        manifest.write_text('{"format": 2, "recipe": ' + '{"x":' * 10**6)
    elif kind == "huge":
        with manifest.open("wb") as file:
            file.truncate(2**36)  # reading it would take all memory there is
    elif kind == "a list":
        manifest.write_text("[1]")
    else:
        about = json.loads(manifest.read_text())
        about |= {
            "newer format": {"format": 99, "files": None}, "edited recipe": {"recipe": {"x": 2}}, "files are a list": {"files": []},
            "a file without a digest": {"files": {"a.txt": {"bytes": 3}}}, "dropped in part": {"files": {"a.txt": {"dropped": "yes"}}},
            "no seconds": {"provenance": {}}, "the files of another": {"files": {"../../../outside": {"sha256": "", "bytes": 1}}},
            "no number": {"recipe": {"x": float("nan")}}, "a lower key": {"key": "0" * 64}, "a higher key": {"key": "f" * 64},
            "other versions": {"provenance": {**about["provenance"], "torch": "9.9"}},
        }[kind]  # fmt: skip
        if kind == "the files of another":
            about["seal"] = seal_of(about)  # who wrote that knew how
        manifest.write_text(json.dumps(about))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("flipped byte", "a.txt does not have the bytes"), ("truncated", "a.txt does not have the bytes"), ("deleted", "a.txt is missing"),
        ("foreign", "b.txt does not belong"), ("no manifest", "cannot be read"), ("half a manifest", "cannot be read"),
        ("newer format", "format 99, this version reads 2"), ("edited recipe", "recipe does not give its key"),
        ("empty", "manifest.json cannot be read: FileNotFoundError"), ("a file", "a file or a link, not a folder"),
        ("a link", "a file or a link, not a folder"), ("a link to nothing", "a file or a link, not a folder"),
        ("a file is a link", "a.txt is not a regular file"), ("the manifest is a link", "manifest.json is not a regular file"),
        ("a file is a folder", "a.txt is missing"), ("a link to a folder", "b is not a regular file"),
        ("a pipe", "a.txt is not a regular file"), ("deep", "manifest.json cannot be read: RecursionError"),
        ("huge", "longer than 16,777,216 bytes"), ("a list", "manifest.json cannot be read: TypeError"),
        ("files are a list", "manifest.json is not one: files: Input should be"),
        ("a file without a digest", r"files.a.txt.sha256: Field required"), ("dropped in part", "files.a.txt"),
        ("no seconds", "provenance.seconds: Field required"), ("the files of another", "../outside is missing"),
        ("no number", "recipe.x is nan"), ("a lower key", "recipe does not give its key"), ("a higher key", "recipe does not give its key"),
        ("other versions", "manifest.json does not say what it was sealed with"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("process", ["another", "the same"])
def test_damage_is_noticed_named_set_aside_and_mended(tmp_path, kind, said, process):
    store = Store(tmp_path / "store")
    generated = store.make({"x": 1}, writes("one"))
    damage(kind, generated.folder)
    (tmp_path / "beside").write_text("of somebody else")
    outside = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*") if "store" not in path.parts}
    if process == "another":
        store = Store(tmp_path / "store")
    with pytest.warns(UserWarning, match=rf"artifact {generated.key[:16]} is damaged \(.*{said}.*moved to .*set-aside"):
        again = store.make({"x": 1}, writes("one"))
    assert again.digest == generated.digest
    assert store.make({"x": 1}, refuses) is again
    assert len(list((tmp_path / "store" / "set-aside").iterdir())) == 1
    assert outside == {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*") if "store" not in path.parts}


def test_a_byte_that_is_flipped_behind_the_back_of_a_running_process_is_noticed(tmp_path):
    store = Store(tmp_path)
    generated = store.make({"x": 1}, writes("one"))
    before = (generated.folder / "a.txt").stat()
    (generated.folder / "a.txt").write_text("onf")
    os.utime(generated.folder / "a.txt", ns=(before.st_atime_ns, before.st_mtime_ns))
    assert store.find({"x": 1}) is None


def test_a_file_that_was_only_touched_is_read_again_and_kept(tmp_path):
    store = Store(tmp_path)
    generated = store.make({"x": 1}, writes("one"))
    (generated.folder / "a.txt").touch()
    assert not generated.unchanged
    assert store.make({"x": 1}, refuses).unchanged


def test_what_is_set_aside_is_kept_as_it_was(tmp_path):
    generated = Store(tmp_path).make({"x": 1}, writes("one"))
    for damaged in ("first", "second"):
        (generated.folder / "a.txt").write_text(damaged)
        with pytest.warns(UserWarning, match="is damaged"):
            Store(tmp_path).make({"x": 1}, writes("one"))
    assert {(path / "a.txt").read_text() for path in (tmp_path / "set-aside").iterdir()} == {"first", "second"}


@pytest.mark.parametrize("hindrance", ["a file", "a link to nothing"])
def test_what_cannot_be_set_aside_stops_with_a_message_and_stays(tmp_path, hindrance):
    generated = Store(tmp_path).make({"x": 1}, writes("one"))
    damage("flipped byte", generated.folder)
    if hindrance == "a file":
        (tmp_path / "set-aside").write_text("")
    else:
        (tmp_path / "set-aside").symlink_to(tmp_path / "nowhere" / "else")
    with pytest.raises(
        UserError, match=rf"artifact {generated.key[:16]} is damaged \(a.txt .*cannot be moved to .*set-aside.*: File exists"
    ):
        Store(tmp_path).make({"x": 1}, writes("one"))
    assert (generated.folder / "a.txt").read_text() == "onf"
    assert not list((tmp_path / "drafts").iterdir())


@pytest.mark.parametrize("place", ["lock", "lock folder", "scratch", "prefix", "prefix file"])
def test_a_link_planted_where_the_store_writes_is_refused_and_not_followed(tmp_path, place):
    store, outside, key = Store(tmp_path / "store"), tmp_path / "outside", key_of({"x": 1})
    outside.mkdir()
    (outside / "file").write_text("of somebody else")
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
    assert (outside / "file").read_text() == "of somebody else"
    assert not list((store.root / "drafts").iterdir())


def test_no_bit_of_a_manifest_can_change_unnoticed(tmp_path):
    generated = Store(tmp_path).make({"x": 1, "y": ["ä", 0.1]}, writes("one"), provenance=provenance())
    path = generated.folder / "manifest.json"
    written = path.read_bytes()
    assert len(written) > 500
    for place, bit in product(range(len(written)), range(8)):
        path.write_bytes(written[:place] + bytes([written[place] ^ 1 << bit]) + written[place + 1 :])
        assert read_manifest(generated.folder, key=generated.key)[0] is None, path.read_bytes()[place - 20 : place + 20]
    path.write_bytes(written)
    assert read_manifest(generated.folder, key=generated.key) == (generated.manifest, "")


@pytest.mark.parametrize("kind", ["a link", "the manifest is a link"])
def test_whoever_reads_no_more_than_a_manifest_follows_no_link_either(tmp_path, kind):
    generated = Store(tmp_path).make({"x": 1}, writes("one"))
    assert read_manifest(generated.folder, key=generated.key) == (generated.manifest, "")
    damage(kind, generated.folder)
    assert read_manifest(generated.folder, key=generated.key) == (None, "manifest.json is not a regular file")


def test_a_manifest_that_would_be_too_long_to_read_is_not_written(tmp_path, monkeypatch):
    monkeypatch.setattr(artifact_module, "MANIFEST_BYTES", 1000)
    with pytest.raises(UserError, match=r"a recipe and its list of files would take 1,\d{3} bytes; at most 1,000 can be kept"):
        Store(tmp_path).make({"x": "x" * 1000}, writes("one"))
    assert not list((tmp_path / "drafts").iterdir())
    assert Store(tmp_path).make({"x": "x"}, writes("one")) == Store(tmp_path).find({"x": "x"})


def test_a_build_that_leaves_a_link_is_refused(tmp_path):
    def links(folder, scratch):
        (folder / "weights").symlink_to(tmp_path)

    with pytest.raises(UserError, match="weights, which was built for the store, is not a regular file"):
        Store(tmp_path).make({"x": 1}, links)
    assert Store(tmp_path).find({"x": 1}) is None


def freed_by_another(folder):
    shutil.rmtree(folder)
    (folder / "a.txt").read_text()


def test_what_cannot_be_read_because_it_is_gone_says_so_and_what_cannot_be_read_anyway_says_that(tmp_path):
    store = Store(tmp_path)
    generated = store.make({"x": 1}, writes("one"))
    with pytest.raises(ZeroDivisionError), store.reading(generated):
        _ = 1 / 0
    with pytest.raises(ArtifactMissing, match="is gone"), store.reading(generated):
        (generated.folder / "a.txt").write_text("read while it changed, without an error")
    generated = store.make({"x": 2}, writes("two"))
    with (
        pytest.raises(ArtifactMissing, match=f"artifact {generated.key[:16]} was in the store and is gone") as gone,
        store.reading(generated),
    ):
        freed_by_another(generated.folder)
    assert isinstance(gone.value.__cause__, FileNotFoundError)
    with pytest.raises(ArtifactMissing), store.reading(generated):
        raise AssertionError("nothing is read of what is not there")


def test_what_is_taken_away_as_soon_as_it_is_built_is_gone(tmp_path):
    heard = []

    def used(key):
        heard.append(key)
        if len(heard) == 3:  # looked for, looked for with the lock, built
            shutil.rmtree(tmp_path / "artifacts" / key[:2] / key)

    with pytest.raises(ArtifactMissing):
        Store(tmp_path, used=used).make({"x": 1}, writes("one"))
    assert heard == [key_of({"x": 1})] * 3


def test_what_another_has_made_and_dropped_in_the_meantime_is_taken_as_it_is(tmp_path):
    def with_weights(folder, scratch):
        (folder / "model").mkdir()
        (folder / "model" / "weights").write_text("old")

    generated, away, heard = Store(tmp_path).make({"x": 1}, with_weights), tmp_path / "away", []
    drop(generated.folder, generated.manifest, "model", draft=tmp_path / "draft")
    generated.folder.rename(away)

    def used(key):
        heard.append(key)
        if len(heard) == 2:
            away.rename(generated.folder)

    assert Store(tmp_path, used=used).make({"x": 1}, refuses).dropped


@pytest.mark.parametrize("other", ["a.txt", "model.txt"])
def test_only_the_part_that_is_dropped_may_be_missing(tmp_path, other):
    def with_weights(folder, scratch):
        (folder / "model").mkdir()
        for name in ("a.txt", "model.txt", "model/weights"):
            (folder / name).write_text(name)

    generated = Store(tmp_path).make({"x": 1}, with_weights)
    drop(generated.folder, generated.manifest, "model", draft=tmp_path / "draft")
    found = Store(tmp_path).find({"x": 1})
    assert found.dropped and found.digest == generated.digest and not (generated.folder / "model").exists()
    (generated.folder / other).write_text("of other bytes")
    assert Store(tmp_path).find({"x": 1}) is None
    (generated.folder / other).unlink()
    assert Store(tmp_path).find({"x": 1}) is None


def test_a_build_that_fails_leaves_what_it_can_go_on_with_and_nothing_else(tmp_path):
    def fails(folder, scratch):
        (folder / "a.txt").write_text("half")
        (scratch / "so far").write_text("half")
        raise ZeroDivisionError

    def goes_on(folder, scratch):
        (folder / "a.txt").write_text((scratch / "so far").read_text() + " and half")

    store = Store(tmp_path)
    with pytest.raises(ZeroDivisionError):
        store.make({"x": 1}, fails)
    assert not list((tmp_path / "drafts").iterdir())
    assert (store.make({"x": 1}, goes_on).folder / "a.txt").read_text() == "half and half"
    assert not list((tmp_path / "scratch").iterdir())


def test_what_a_build_took_is_kept_in_seconds_and_bytes(tmp_path):
    rss = psutil.Process().memory_info().rss
    kept = Store(tmp_path).make({"x": 1}, writes("one"), provenance={"by": "hand"}).manifest["provenance"]
    assert kept.keys() == {"by", "seconds", "peak_bytes"}
    assert 0.9 * rss < kept["peak_bytes"] < psutil.virtual_memory().total


def test_every_byte_and_name_is_flushed_before_an_artifact_is_there_and_its_own_name_before_it_is_given_out(tmp_path, monkeypatch):
    """What a power cut would leave behind cannot be seen; that the disk was asked, in which order, can."""
    asked, rename, fsync = [], os.rename, os.fsync
    monkeypatch.setattr(os, "fsync", lambda file: [asked.append(os.path.realpath(f"/proc/self/fd/{file}")), fsync(file)])
    monkeypatch.setattr(os, "rename", lambda old, new: [asked.append(f"{old} -> {new}"), rename(old, new)])

    def build(folder, scratch):
        (folder / "model" / "deep").mkdir(parents=True)
        for name in ("a.txt", "model/deep/b.txt"):
            (folder / name).write_text(name)

    generated = Store(tmp_path).make({"x": 1}, build)
    before, (named, *after) = asked[:-3], asked[-3:]
    draft = named.partition(" -> ")[0]
    assert named == f"{draft} -> {generated.folder}"
    assert after == [str(tmp_path / "artifacts" / generated.key[:2]), str(tmp_path / "artifacts")]
    names = ("", "/manifest.json", "/a.txt", "/model", "/model/deep", "/model/deep/b.txt")
    assert set(before) == {f"{draft}{name}" for name in names}


def test_a_gone_artifact_can_be_told_across_processes():
    gone = pickle.loads(pickle.dumps(ArtifactMissing("a" * 64)))
    assert gone.key == "a" * 64 and "a" * 16 in str(gone)


def test_threads_and_stores_that_want_the_same_build_it_once(tmp_path):
    built = []

    def build(folder, scratch):
        built.append(1)
        (folder / "a.txt").write_text("one")

    with ThreadPoolExecutor(8) as threads:
        digests = set(threads.map(lambda _: Store(tmp_path).make({"x": 1}, build).digest, range(24)))
    assert len(built) == 1
    assert len(digests) == 1


def test_reading_without_the_lock_never_moves_what_another_may_just_have_mended(tmp_path):
    generated = Store(tmp_path).make({"x": 1}, writes("one"))
    damage("flipped byte", generated.folder)
    assert Store(tmp_path).find({"x": 1}) is None
    assert generated.folder.exists(), "only a builder, who holds the lock, sets things aside"


def test_a_folder_that_cannot_be_a_store_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be used as a store"):
        Store(tmp_path / "file" / "store")


@pytest.mark.slow
def test_a_crash_anywhere_while_sealing_changes_nothing(tmp_path, monkeypatch):
    """Cut the power before the k-th call that seals anything, for many k, then run again: the same rows."""
    wanted = experiment(ANALYTIC)
    whole = run(wanted, store=tmp_path / "whole", workers=1)
    calls = [(store_module.os, "rename"), (store_module.os, "fsync"), (store_module, "seal")]
    limit, cut = 0, True
    while cut:
        limit += 13  # steps of 13 meet every kind of call, since artifacts have 6 or 11 of them
        store = tmp_path / f"cut-{limit}"
        with monkeypatch.context() as patched:
            patched.setattr(store_module.shutil, "rmtree", lambda *args, **kwargs: None)  # the dead clean up nothing
            cut = power_cut(lambda store=store: run(wanted, store=store, workers=1), at=limit, calls=calls)
        again = run(wanted, store=store, workers=1)
        assert again.equals(whole), f"other rows after a crash at call {limit}"
    assert limit > 15 * 13
    assert not any(re.search("draft", str(path)) for path in (tmp_path / "whole" / "artifacts").rglob("*"))
