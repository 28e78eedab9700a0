from __future__ import annotations

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from autophagy import Store, UserError, experiment, run
from autophagy.common import store as store_module
from autophagy.common.store import canonical, key_of
from tiny import ANALYTIC


def writes(text):
    return lambda folder, scratch: (folder / "a.txt").write_text(text)


def refuses(folder, scratch):
    raise AssertionError("was built a second time")


def test_an_artifact_is_built_once(tmp_path):
    store = Store(tmp_path)
    made = store.make({"x": 1}, writes("one"))
    assert store.make({"x": 1}, refuses).digest == made.digest
    assert Store(tmp_path).make({"x": 1}, refuses).digest == made.digest
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
        canonical(recipe)  # numpy's float64 is a float
        return
    with pytest.raises(ValueError, match=said):
        key_of(recipe)


def test_keys_do_not_depend_on_order_and_do_depend_on_type():
    assert key_of({"a": 1, "b": 2}) == key_of({"b": 2, "a": 1})
    assert len({key_of({"a": value}) for value in (1, 1.0, "1", True, None, [1])}) == 6


def damage(kind, folder):
    manifest = folder / "manifest.json"
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
    else:
        about = json.loads(manifest.read_text())
        about.update({"newer format": {"format": 99}, "edited recipe": {"recipe": {"x": 2}}}[kind])
        manifest.write_text(json.dumps(about))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("flipped byte", "a.txt does not have the bytes"), ("truncated", "a.txt does not have the bytes"), ("deleted", "a.txt is missing"),
        ("foreign", "b.txt does not belong"), ("no manifest", "cannot be read"), ("half a manifest", "cannot be read"),
        ("newer format", "format 99"), ("edited recipe", "recipe does not give its key"),
    ],
)  # fmt: skip
def test_damage_is_noticed_named_set_aside_and_mended(tmp_path, kind, said):
    made = Store(tmp_path).make({"x": 1}, writes("one"))
    damage(kind, made.folder)
    with pytest.warns(UserWarning, match=said):
        again = Store(tmp_path).make({"x": 1}, writes("one"))
    assert again.digest == made.digest
    assert len(list((tmp_path / "set-aside").iterdir())) == 1


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
    made = Store(tmp_path).make({"x": 1}, writes("one"))
    damage("flipped byte", made.folder)
    assert Store(tmp_path).find({"x": 1}) is None
    assert made.folder.exists(), "only a builder, who holds the lock, sets things aside"


def test_a_folder_that_cannot_be_a_store_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be used as a store"):
        Store(tmp_path / "file" / "store")


class PowerCut(BaseException):
    """Nothing in the code may catch it."""


def test_a_crash_anywhere_while_sealing_changes_nothing(tmp_path, monkeypatch):
    """Cut the power before the k-th call that seals anything, for many k, then run again: the same rows."""
    wanted = experiment(ANALYTIC)
    whole = run(wanted, store=tmp_path / "whole", workers=1)
    real_rename, real_fsync, real_write = os.rename, os.fsync, store_module._seal
    calls, limit = 0, 0

    def cut(real):
        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == limit:
                raise PowerCut
            return real(*args, **kwargs)

        return call

    crashes = 0
    while True:
        limit, calls = limit + 11, 0  # steps of 11 meet every kind of call, since artifacts have 3 to 8 of them
        store = tmp_path / f"cut-{limit}"
        with monkeypatch.context() as patched:
            patched.setattr(store_module.os, "rename", cut(real_rename))
            patched.setattr(store_module.os, "fsync", cut(real_fsync))
            patched.setattr(store_module, "_seal", cut(real_write))
            patched.setattr(store_module.shutil, "rmtree", lambda *args, **kwargs: None)  # the dead clean up nothing
            try:
                run(wanted, store=store, workers=1)
                break
            except PowerCut:
                crashes += 1
        again = run(wanted, store=store, workers=1)
        assert again.equals(whole), f"other rows after a crash at call {limit}"
    assert crashes > 15
    assert not any(re.search("draft", str(path)) for path in (tmp_path / "whole" / "artifacts").rglob("*"))
