"""Exports contain every number once, under the name of its chain. Impossible exports give a one-line error."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys

import numpy as np
import pandas
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest
from autophagy import UserError, experiment, run
from autophagy.common.analysis.export import TARGETS, ExportedRun, export
from autophagy.common.analysis.metric_names import display_name
from support.commands import autophagy
from support.tiny import ANALYTIC


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished run with two seeds."""
    out = tmp_path_factory.mktemp("out")
    run(experiment({**ANALYTIC, "seeds": [0, 1], "generations": 2}), store=out / "store", out=out)
    return out / ANALYTIC["name"]


@pytest.fixture
def folder(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "tiny-gaussian")


def change_table(folder, change):
    """Rewrite rows.parquet of a run; returns the folder."""
    table = parquet.read_table(folder / "rows.parquet")
    parquet.write_table(change(table), folder / "rows.parquet")
    return folder


# ---- files --------------------------------------------------------------------------------------------------------


def test_files_contain_every_row_and_empty_cells_for_null(folder):
    rows = parquet.read_table(folder / "rows.parquet").to_pylist()
    assert any(row["floor"] is None for row in rows) and any(row["floor"] is not None for row in rows)
    with export(folder, "csv").open(newline="") as file:
        lines = list(csv.DictReader(file))
    names = [line.pop("metric_name") for line in lines]
    assert lines == [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows]
    assert names == [display_name(row["metric"]) for row in rows], "ids stay, names for readers are added"
    expected = [{**row, "metric_name": name} for row, name in zip(rows, names, strict=True)]
    assert [json.loads(line) for line in export(folder, "jsonl").read_text().splitlines()] == expected
    assert {path.name for path in (folder / "export").iterdir()} == {"rows.csv", "rows.jsonl"}
    pandas.testing.assert_frame_equal(
        pandas.read_csv(folder / "export" / "rows.csv")[["value", "floor"]],
        pandas.read_parquet(folder / "rows.parquet")[["value", "floor"]],
        check_exact=True,
    )


def test_nan_is_exported_as_null(folder):
    def floors_become_nan(table):
        place = table.schema.get_field_index("floor")
        return table.set_column(place, "floor", pa.array([float("nan")] * len(table)))

    change_table(folder, floors_become_nan)
    assert "nan" not in export(folder, "csv").read_text().lower()
    assert {json.loads(line)["floor"] for line in export(folder, "jsonl").read_text().splitlines()} == {None}
    assert not any(name.startswith("_floor") for name in ExportedRun.read(folder).chains)


def test_command_prints_the_path_of_the_export(folder, tmp_path):
    result = autophagy("export", folder, "--to", "csv", "-o", tmp_path / "a" / "b")
    assert result.exit_code == 0, result.output
    assert result.output == f"export: {tmp_path / 'a' / 'b' / 'rows.csv'}\n"
    assert (tmp_path / "a" / "b" / "rows.csv").is_file()


def test_file_exports_import_neither_torch_nor_pandas_nor_trackers(folder):
    code = (
        f"import sys; from autophagy.common.analysis.export import export; [export({str(folder)!r}, to) for to in ('csv', 'jsonl')];"
        "assert not {'torch', 'pandas', 'transformers', 'tensorboard', 'wandb', 'mlflow', 'trackio'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- chains -------------------------------------------------------------------------------------------------------


def test_chain_names_contain_policy_generator_and_seed(folder):
    names = {f"{policy}-{seed}" for policy in ("replace", "accumulate", "real", "_floor") for seed in (0, 1)}
    rows = pandas.read_parquet(folder / "rows.parquet")
    chains = ExportedRun.read(folder).chains
    assert set(chains) == names
    assert sum(len(numbers) for points in chains.values() for numbers in points.values()) == len(rows) + len(
        rows[rows.floor.notna()].drop_duplicates(["seed", "generation", "metric"])
    )

    def rename(table):
        generators = ["other" if policy == "real" else "gaussian" for policy in table["policy"].to_pylist()]
        return table.set_column(table.schema.get_field_index("generator"), "generator", pa.array(generators))

    several = set(ExportedRun.read(change_table(folder, rename)).chains)
    assert {"replace/gaussian-0", "real/other-1", "_floor/gaussian-0", "_floor/other-1"} <= several
    assert len(several) == 10


def read_back(folder):
    """The numbers that TensorBoard shows, by chain, generation and tag, and the text of each chain."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    numbers, texts = {}, {}
    for file in folder.rglob("events.out.tfevents.*"):
        chain = str(file.parent.relative_to(folder))
        events = EventAccumulator(str(file.parent), size_guidance={"scalars": 0}).Reload()
        for tag in events.Tags()["scalars"]:
            for event in events.Scalars(tag):
                assert numbers.setdefault((chain, event.step, tag), event.value) == event.value
        texts[chain] = events.Tensors("config/text_summary")[0].tensor_proto.string_val[0].decode()
    return numbers, texts


@pytest.mark.parametrize("times", [1, 2])
def test_tensorboard_contains_every_number_once(folder, tmp_path, times):
    for _ in range(times):
        assert export(folder, "tensorboard", tmp_path / "board") == tmp_path / "board"
    numbers, texts = read_back(tmp_path / "board")
    expected = {}
    for row in pandas.read_parquet(folder / "rows.parquet").to_dict("records"):
        tag = f"{row['axis']}/{row['metric']}"
        expected[f"{row['policy']}-{row['seed']}", row["generation"], tag] = np.float32(row["value"])
        if row["floor"] == row["floor"]:
            expected[f"_floor-{row['seed']}", row["generation"], tag] = np.float32(row["floor"])
    assert numbers == expected
    assert len(list((tmp_path / "board").rglob("events.out.tfevents.*"))) == len(texts) == 8
    config = (folder / "config.yaml").read_text()
    for text in texts.values():
        assert "".join(line.removeprefix("    ") for line in text.splitlines(keepends=True)) == config


# ---- errors ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", ["tensorboard", "wandb", "mlflow", "trackio"])
def test_missing_tracker_error_gives_the_pip_command(package, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setenv("TRACKIO_DIR", str(folder))
    result = autophagy("export", folder, "--to", package)
    assert result.exit_code == 2
    assert result.stderr == f"error: --to {package}: {package} is not installed; run `pip install {package}`\n"


def test_unknown_targets_and_other_folders_are_rejected(folder, tmp_path):
    assert list(TARGETS) == ["csv", "jsonl", "tensorboard", "wandb", "mlflow", "trackio"]
    (tmp_path / "file").write_text("")
    for words, message in [
        (
            [folder, "--to", "tensorbord"],
            "unknown target; known: csv, jsonl, tensorboard, wandb, mlflow, trackio; did you mean 'tensorboard'?",
        ),
        ([tmp_path, "--to", "csv"], "not the folder of a finished run, config.yaml is missing"),
        ([folder, "--to", "csv", "-o", tmp_path / "file"], "file: cannot be written: File exists"),
    ]:
        result = autophagy("export", *words)
        assert result.exit_code == 2
        assert message in result.stderr


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "rows.parquet").unlink(), "not the folder of a finished run, rows.parquet is missing"),
        (lambda folder: (folder / "rows.parquet").write_bytes(b"PAR1 and no more"), "cannot be read: "),
        (lambda folder: (folder / "config.yaml").write_text("a: [1"), "cannot be read: "),
        (lambda folder: (folder / "config.yaml").write_text("- 1"), "config.yaml has no key 'name'"),
        (lambda folder: change_table(folder, lambda table: table.drop_columns(["axis"])), "rows.parquet has no column 'axis'"),
    ],
)
def test_damaged_run_folder_is_rejected(damage, message, folder):
    damage(folder)
    with pytest.raises(UserError, match=message):
        export(folder, "csv")
    assert not (folder / "export").exists()
