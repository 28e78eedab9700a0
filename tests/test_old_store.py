"""A store and configs written by version 0.1 are still read: only stages with a new recipe are rebuilt, and the rows are equal.

`data/store-0.1.tar.xz` holds six small experiments that version 0.1 ran: `configs/` as users wrote them, with names that have changed
since, `store/`, and `out/` with the results.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path

import pandas
import pytest
import yaml
from autophagy import load_config, run
from autophagy.common.execution import scheduler
from autophagy.common.store.verify import check_artifacts, paths_to_check

ARCHIVE = Path(__file__).parent / "data" / "store-0.1.tar.xz"


@pytest.fixture(scope="module")
def old(tmp_path_factory):
    folder = tmp_path_factory.mktemp("old")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder


REBUILT: dict[str, set[str]] = {
    "causal-lm": {"fit", "sample", "curate", "measure held-out", "measure samples-under-base"},
    "vae": {"measure precision-recall"},
    "diffusion": {"fit", "sample", "measure pixel-variance"},
}
"""Stages with a new recipe, by experiment: precision and recall compare all rows by default, no longer the first 4,000. The noise and
the solver of `diffusion` have changed."""
CHANGED_ROWS = {"causal-lm", "diffusion"}
"""Experiments whose measured values differ from those of version 0.1."""
FORMER_DEFAULTS = {"precision-recall": {"max_rows": 4000}}


def stages_in(store: Path) -> dict[str, str]:
    """The names of the stages of all artifacts, by key."""
    recipes = {path.parent.name: json.loads(path.read_text())["recipe"] for path in store.glob("artifacts/*/*/manifest.json")}
    return {key: " ".join([recipe["stage"], *([recipe["metric"]["use"]] if "metric" in recipe else [])]) for key, recipe in recipes.items()}


@pytest.mark.parametrize("name", ["gaussian", "causal-lm", "ngram", "vae", "gmm", "diffusion"])
def test_artifacts_of_version_0_1_are_found(old, name, monkeypatch, tmp_path):
    def executor(*_: object) -> None:
        raise AssertionError("an artifact of version 0.1 was not found, so a worker was started")

    store = old / "store"
    if name in REBUILT:
        shutil.copytree(store, store := tmp_path / "store")
    else:
        monkeypatch.setattr(scheduler, "executor", executor)
    before = stages_in(store)
    rows = run(load_config(old / "configs" / f"{name}.yaml"), store=store)
    after = stages_in(store)
    assert {after[key] for key in after.keys() - before.keys()} == REBUILT.get(name, set())
    former = pandas.read_parquet(old / "out" / name / "rows.parquet")
    if name in CHANGED_ROWS:
        rows, former = (table.drop(columns="value") for table in (rows, former))
    pandas.testing.assert_frame_equal(rows, former, check_exact=True)


def test_configs_that_version_0_1_completed_are_read(old):
    for path in sorted((old / "out").glob("*/config.yaml")):
        written, completed = (yaml.safe_load(load_config(file).yaml()) for file in (old / "configs" / f"{path.parent.name}.yaml", path))
        for metric in written["metrics"]:
            metric.update(FORMER_DEFAULTS.get(metric["use"], {}))
        assert written == completed


def test_the_store_is_intact(old):
    assert [checked.fault for checked in check_artifacts(paths_to_check(old / "store")) if checked.fault] == []
