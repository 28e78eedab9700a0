"""A store and configs written by version 0.1 are still read: nothing is rebuilt, and the rows are equal.

`data/store-0.1.tar.xz` holds six small experiments that version 0.1 ran: `configs/` as users wrote them, with names that have changed
since, `store/`, and `out/` with the results.
"""

from __future__ import annotations

import tarfile
from pathlib import Path

import pandas
import pytest
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


@pytest.mark.parametrize("name", ["gaussian", "causal-lm", "ngram", "vae", "gmm", "diffusion"])
def test_every_artifact_of_version_0_1_is_found(old, name, monkeypatch):
    def executor(*_: object) -> None:
        raise AssertionError("an artifact of version 0.1 was not found, so a worker was started")

    monkeypatch.setattr(scheduler, "executor", executor)
    rows = run(load_config(old / "configs" / f"{name}.yaml"), store=old / "store")
    pandas.testing.assert_frame_equal(rows, pandas.read_parquet(old / "out" / name / "rows.parquet"), check_exact=True)


def test_configs_that_version_0_1_completed_are_read(old):
    for path in sorted((old / "out").glob("*/config.yaml")):
        written, completed = load_config(old / "configs" / f"{path.parent.name}.yaml"), load_config(path)
        assert written.yaml() == completed.yaml()


def test_the_store_is_intact(old):
    assert [checked.fault for checked in check_artifacts(paths_to_check(old / "store")) if checked.fault] == []
