"""Export: every number arrives, once, under the name of its chain; what cannot be exported is said in one line."""

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
from autophagy.common.analysis.export import TARGETS, Exported, export
from support.commands import autophagy
from support.tiny import ANALYTIC


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished run of two seeds."""
    out = tmp_path_factory.mktemp("out")
    run(experiment({**ANALYTIC, "seeds": [0, 1], "generations": 2}), store=out / "store", out=out)
    return out / ANALYTIC["name"]


@pytest.fixture
def folder(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "tiny-gaussian")


def altered(folder, change):
    """The run with its table of rows changed."""
    table = parquet.read_table(folder / "rows.parquet")
    parquet.write_table(change(table), folder / "rows.parquet")
    return folder


# ---- files --------------------------------------------------------------------------------------------------------


def test_files_hold_every_row_and_nothing_for_no_number(folder):
    rows = parquet.read_table(folder / "rows.parquet").to_pylist()
    assert any(row["floor"] is None for row in rows) and any(row["floor"] is not None for row in rows)
    with export(folder, "csv").open(newline="") as file:
        assert list(csv.DictReader(file)) == [{name: "" if value is None else str(value) for name, value in row.items()} for row in rows]
    assert [json.loads(line) for line in export(folder, "jsonl").read_text().splitlines()] == rows
    assert {path.name for path in (folder / "export").iterdir()} == {"rows.csv", "rows.jsonl"}
    pandas.testing.assert_frame_equal(
        pandas.read_csv(folder / "export" / "rows.csv")[["value", "floor"]],
        pandas.read_parquet(folder / "rows.parquet")[["value", "floor"]],
        check_exact=True,
    )


def test_not_a_number_is_written_like_no_number(folder):
    def spoil(table):
        place = table.schema.get_field_index("floor")
        return table.set_column(place, "floor", pa.array([float("nan")] * len(table)))

    altered(folder, spoil)
    assert "nan" not in export(folder, "csv").read_text().lower()
    assert {json.loads(line)["floor"] for line in export(folder, "jsonl").read_text().splitlines()} == {None}
    assert not any(name.startswith("_floor") for name in Exported.read(folder).chains)


def test_the_command_says_where_it_went(folder, tmp_path):
    result = autophagy("export", folder, "--to", "csv", "-o", tmp_path / "a" / "b")
    assert result.exit_code == 0, result.output
    assert result.output == f"export: {tmp_path / 'a' / 'b' / 'rows.csv'}\n"
    assert (tmp_path / "a" / "b" / "rows.csv").is_file()


def test_files_are_written_without_torch_and_without_any_tracker(folder):
    code = (
        f"import sys; from autophagy.common.analysis.export import export; [export({str(folder)!r}, to) for to in ('csv', 'jsonl')];"
        "assert not {'torch', 'transformers', 'tensorboard', 'wandb', 'mlflow', 'trackio'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


# ---- chains -------------------------------------------------------------------------------------------------------


def test_chains_are_named_by_policy_generator_and_seed(folder):
    names = {f"{policy}-{seed}" for policy in ("replace", "accumulate", "real", "_floor") for seed in (0, 1)}
    rows = pandas.read_parquet(folder / "rows.parquet")
    chains = Exported.read(folder).chains
    assert set(chains) == names
    assert sum(len(numbers) for points in chains.values() for numbers in points.values()) == len(rows) + len(
        rows[rows.floor.notna()].drop_duplicates(["seed", "generation", "metric"])
    )

    def rename(table):
        generators = ["other" if policy == "real" else "gaussian" for policy in table["policy"].to_pylist()]
        return table.set_column(table.schema.get_field_index("generator"), "generator", pa.array(generators))

    several = set(Exported.read(altered(folder, rename)).chains)
    assert {"replace/gaussian-0", "real/other-1", "_floor/gaussian-0", "_floor/other-1"} <= several
    assert len(several) == 10


def read_back(folder):
    """By chain, generation and tag, what TensorBoard shows; and the text of each chain."""
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
def test_tensorboard_shows_every_number_of_every_chain_once(folder, tmp_path, times):
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


# ---- what cannot be -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", ["tensorboard", "wandb", "mlflow", "trackio"])
def test_a_tracker_that_is_not_installed_is_named(package, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setenv("TRACKIO_DIR", str(folder))
    result = autophagy("export", folder, "--to", package)
    assert result.exit_code == 2
    assert result.stderr == f"error: --to {package}: {package} is not installed; `pip install {package}` installs it\n"


def test_unknown_targets_and_folders_that_are_no_runs(folder, tmp_path):
    assert list(TARGETS) == ["csv", "jsonl", "tensorboard", "wandb", "mlflow", "trackio"]
    (tmp_path / "file").write_text("")
    for words, said in [
        ([folder, "--to", "tensorbord"], "--to tensorbord: there is no such target; did you mean 'tensorboard'?"),
        ([tmp_path, "--to", "csv"], "is not the folder of a finished run: it has no config.yaml"),
        ([folder, "--to", "csv", "-o", tmp_path / "file"], "file: cannot be written: File exists"),
    ]:
        result = autophagy("export", *words)
        assert result.exit_code == 2
        assert said in result.stderr


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda folder: (folder / "rows.parquet").unlink(), "it has no rows.parquet"),
        (lambda folder: (folder / "rows.parquet").write_bytes(b"PAR1 and no more"), "cannot be read: "),
        (lambda folder: (folder / "config.yaml").write_text("a: [1"), "cannot be read: "),
        (lambda folder: (folder / "config.yaml").write_text("- 1"), "config.yaml names no experiment"),
        (lambda folder: altered(folder, lambda table: table.drop_columns(["axis"])), "rows.parquet has no column 'axis'"),
    ],
)
def test_a_damaged_run_is_refused(damage, said, folder):
    damage(folder)
    with pytest.raises(UserError, match=said):
        export(folder, "csv")
    assert not (folder / "export").exists()
