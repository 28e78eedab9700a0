"""Artifacts that go away, or are damaged, under the hands of a run that has already found them."""

from __future__ import annotations

import json
import shutil
import warnings
from pathlib import Path

import pytest
from autophagy import UserError, experiment, run
from support.tiny import ANALYTIC, VISION

WANTED = experiment({**ANALYTIC, "policies": ["replace", "accumulate"], "seeds": [0, 1]})
TRAINED = {**VISION, "seeds": [0], "policies": ["replace"], "metrics": ["frechet", "held-out-score"]}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return run(WANTED, store=tmp_path_factory.mktemp("whole"))


def newest(store: Path, stage: str) -> Path:
    """The folder of the artifact of a stage that was made last."""
    manifests = sorted(store.glob("artifacts/*/*/manifest.json"), key=lambda path: path.stat().st_mtime_ns)
    return next(path.parent for path in reversed(manifests) if json.loads(path.read_text())["recipe"]["stage"] == stage)


class Thief:
    """Watches a run and does something to the store when it hears of something for the n-th time."""

    def __init__(self, store: Path, what: str, times: set[int], act):
        self.store, self.what, self.times, self.act = store, what, times, act
        self.heard, self.done = 0, []

    def __call__(self, event):
        self.done += [(event.task, event.activity)] if event.done else []
        if event.activity.endswith(self.what):
            self.heard += 1
            if self.heard in self.times:
                self.act(self.store)


def flip(path: Path) -> None:
    found = bytearray(path.read_bytes())
    found[-1] ^= 1
    path.write_bytes(found)


@pytest.mark.parametrize(
    ("what", "act"),
    [
        ("sample", lambda store: shutil.rmtree(newest(store, "fit"))),
        ("sample", lambda store: shutil.rmtree(newest(store, "fit") / "model")),
        ("sample", lambda store: flip(newest(store, "fit") / "model" / "mean.npy")),
        ("measure moments", lambda store: shutil.rmtree(newest(store, "fit"))),
        ("measure moments", lambda store: [shutil.rmtree(folder) for folder in store.glob("artifacts/*/*")]),
    ],
    ids=["a model", "its weights", "a byte of its weights", "a model after it was sampled", "everything"],
)
@pytest.mark.filterwarnings("ignore:artifact .* is damaged")
def test_what_goes_under_the_hands_of_a_run_is_made_again(tmp_path, rows, what, act):
    thief = Thief(tmp_path, what, {3, 6}, act)
    assert run(WANTED, store=tmp_path, progress=thief).equals(rows)
    assert thief.heard >= 6
    assert len(thief.done) == len(set(thief.done)), "those who watch hear of every generation once, however often it was gone along"
    with warnings.catch_warnings(action="error"):
        assert run(WANTED, store=tmp_path).equals(rows)


@pytest.mark.parametrize("init", ["previous", "scratch"])
def test_weights_that_a_fit_starts_from_are_made_again(tmp_path, init):
    wanted = experiment({**TRAINED, "init": init})
    rows = run(wanted, store=tmp_path / "whole")
    thief = Thief(tmp_path / "robbed", ": fit", {2, 5}, lambda store: shutil.rmtree(newest(store, "fit")))
    assert run(wanted, store=tmp_path / "robbed", progress=thief).equals(rows)


def test_a_feature_model_that_goes_is_made_again(tmp_path):
    wanted = experiment(TRAINED)
    rows = run(wanted, store=tmp_path / "whole")
    thief = Thief(tmp_path / "robbed", "measure frechet", {2}, lambda store: shutil.rmtree(newest(store, "feature-model")))
    assert run(wanted, store=tmp_path / "robbed", progress=thief).equals(rows)
    assert thief.heard > 2


def test_what_goes_again_and_again_stops_the_run_with_a_message(tmp_path):
    thief = Thief(tmp_path, ": sample", set(range(1000)), lambda store: shutil.rmtree(newest(store, "fit")))
    with pytest.raises(UserError, match=r"^artifact [0-9a-f]{16} was in the store and is gone.*The same command makes it anew$"):
        run(WANTED, store=tmp_path, progress=thief)
    assert thief.heard == 2
