"""Artifacts that disappear or are damaged after a run has found them: the run rebuilds them."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
from autophagy import UserError, experiment, run
from autophagy.common.execution.workers import Event
from support.tiny import ANALYTIC, VISION

EXPERIMENT = experiment({**ANALYTIC, "policies": ["replace", "accumulate"], "seeds": [0, 1]})
TRAINED = {**VISION, "seeds": [0], "policies": ["replace"], "metrics": ["frechet", "held-out-score"]}


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return run(EXPERIMENT, store=tmp_path_factory.mktemp("undisturbed"))


def newest(store: Path, stage: str) -> Path:
    """The folder of the newest artifact of a stage."""
    manifests = sorted(store.glob("artifacts/*/*/manifest.json"), key=lambda path: path.stat().st_mtime_ns)
    return next(path.parent for path in reversed(manifests) if json.loads(path.read_text())["recipe"]["stage"] == stage)


class Disturber:
    """A progress callback that changes the store when an activity starts for the n-th time.

    activity: the end of the reported text. times: numbers of its occurrences at which `act(store)` is called.
    """

    def __init__(self, store: Path, activity: str, times: set[int], act: Callable[[Path], object]):
        self.store, self.activity, self.times, self.act = store, activity, times, act
        self.count = 0
        self.finished: list[tuple[str, str]] = []

    def __call__(self, event: Event) -> None:
        if event.done:
            self.finished.append((event.task, event.activity))
        if event.activity.endswith(self.activity):
            self.count += 1
            if self.count in self.times:
                self.act(self.store)


def flip_bit(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize(
    ("activity", "act"),
    [
        ("sample", lambda store: shutil.rmtree(newest(store, "fit"))),
        ("sample", lambda store: shutil.rmtree(newest(store, "fit") / "model")),
        ("sample", lambda store: flip_bit(newest(store, "fit") / "model" / "mean.npy")),
        ("measure moments", lambda store: shutil.rmtree(newest(store, "fit"))),
        ("measure moments", lambda store: [shutil.rmtree(folder) for folder in store.glob("artifacts/*/*")]),
    ],
    ids=["model", "weights", "bit of the weights", "model after sampling", "everything"],
)
@pytest.mark.filterwarnings("ignore:artifact .* is damaged")
def test_lost_artifacts_are_rebuilt(tmp_path, rows, activity, act):
    disturber = Disturber(tmp_path, activity, {3, 6}, act)
    assert run(EXPERIMENT, store=tmp_path, progress=disturber).equals(rows)
    assert disturber.count >= 6
    assert len(disturber.finished) == len(set(disturber.finished)), "each generation is reported once, even if its chain restarts"
    with warnings.catch_warnings(action="error"):
        assert run(EXPERIMENT, store=tmp_path).equals(rows)


@pytest.mark.parametrize("init", ["previous", "scratch"])
def test_lost_initial_weights_of_a_fit_are_rebuilt(tmp_path, init):
    config = experiment({**TRAINED, "init": init})
    rows = run(config, store=tmp_path / "undisturbed")
    disturber = Disturber(tmp_path / "disturbed", ": fit", {2, 5}, lambda store: shutil.rmtree(newest(store, "fit")))
    assert run(config, store=tmp_path / "disturbed", progress=disturber).equals(rows)


def test_lost_feature_model_is_rebuilt(tmp_path):
    config = experiment(TRAINED)
    rows = run(config, store=tmp_path / "undisturbed")
    disturber = Disturber(tmp_path / "disturbed", "measure frechet", {2}, lambda store: shutil.rmtree(newest(store, "feature-model")))
    assert run(config, store=tmp_path / "disturbed", progress=disturber).equals(rows)
    assert disturber.count > 2


def test_artifact_lost_twice_stops_the_run(tmp_path):
    disturber = Disturber(tmp_path, ": sample", set(range(1000)), lambda store: shutil.rmtree(newest(store, "fit")))
    with pytest.raises(UserError, match=r"^artifact [0-9a-f]{16} disappeared from the store .*; the same command rebuilds it$"):
        run(EXPERIMENT, store=tmp_path, progress=disturber)
    assert disturber.count == 2
