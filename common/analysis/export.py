"""From a run folder to what other tools read: one tidy file, or a run for each chain in an experiment tracker.

Reads `rows.parquet` and `config.yaml`; never knows how they came about. A tracker is imported only when it is written to, and shows
each chain under its own name, its numbers as `axis/metric` over generations, and floors as chains of their own beside them. Exporting
once more replaces what was exported.
"""

from __future__ import annotations

import csv
import hashlib
import importlib
import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from types import ModuleType
from typing import Any

import pyarrow.parquet as parquet
import yaml

from ..core.errors import UserError, did_you_mean

NEEDED = ("policy", "generator", "seed", "generation", "axis", "metric", "value", "floor")
"""Columns without which rows cannot be told apart."""

Points = Mapping[int, Mapping[str, float]]
"""By generation, its numbers by `axis/metric`."""


@dataclass(frozen=True)
class Exported:
    """What is exported of a run folder."""

    name: str
    config: Mapping[str, Any]
    config_text: str
    columns: Sequence[str]
    rows: Sequence[Mapping[str, Any]]
    """None where a row has no number."""
    seconds: float
    """When the rows were written, since the epoch: trackers want a time, and the same export is to give the same."""

    @classmethod
    def read(cls, folder: Path) -> Exported:
        """UserError if the folder is not that of a finished run."""
        rows_file, config_file = folder / "rows.parquet", folder / "config.yaml"
        if missing := [file.name for file in (config_file, rows_file) if not file.is_file()]:
            raise UserError(f"{folder}: is not the folder of a finished run: it has no {missing[0]}")
        try:
            config_text = config_file.read_text(encoding="utf-8")
            config, table = yaml.safe_load(config_text), parquet.read_table(rows_file)
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise UserError(f"{folder}: cannot be read: {error}") from error
        if missing := [column for column in NEEDED if column not in table.column_names]:
            raise UserError(f"{folder}: cannot be read: rows.parquet has no column '{missing[0]}'")
        if not isinstance(config, Mapping) or "name" not in config:
            raise UserError(f"{folder}: cannot be read: config.yaml names no experiment")
        rows = [{name: None if value != value else value for name, value in row.items()} for row in table.to_pylist()]
        return cls(str(config["name"]), config, config_text, table.column_names, rows, rows_file.stat().st_mtime)

    @property
    def chains(self) -> Mapping[str, Points]:
        """The numbers of each chain, by `policy-seed` or, with several generators, `policy/generator-seed`.

        `_floor-seed` holds the floors, which all policies share; no policy's name starts with an underscore.
        """
        several = len({row["generator"] for row in self.rows}) > 1
        found: dict[str, dict[int, dict[str, float]]] = {}
        for row in self.rows:
            for policy, number in ((row["policy"], row["value"]), ("_floor", row["floor"])):
                if number is not None:
                    name = f"{policy}/{row['generator']}-{row['seed']}" if several else f"{policy}-{row['seed']}"
                    points = found.setdefault(name, {}).setdefault(row["generation"], {})
                    points[f"{row['axis']}/{row['metric']}"] = number
        return found


def export(folder: str | Path, to: str, output: str | Path | None = None) -> Path:
    """Export a finished run to one of TARGETS, into the folder `output` (left out: `<folder>/export`). Where it is now.

    Raises UserError for an unknown target, one whose package is not installed, or a folder that cannot be read or written.
    """
    if to not in TARGETS:
        raise UserError(f"--to {to}: there is no such target{did_you_mean(to, TARGETS)}")
    run = Exported.read(Path(folder))
    output = Path(folder) / "export" if output is None else Path(output)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"-o {output}: cannot be written: {error.strerror}") from error
    return TARGETS[to](run, output)


def _csv(run: Exported, output: Path) -> Path:
    def write(file: Any) -> None:
        lines = csv.DictWriter(file, run.columns, lineterminator="\n")
        lines.writeheader()
        lines.writerows(run.rows)

    return _file(output / "rows.csv", write)


def _jsonl(run: Exported, output: Path) -> Path:
    lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in run.rows)
    return _file(output / "rows.jsonl", lambda file: file.writelines(lines))


def _file(path: Path, write: Callable[[Any], None]) -> Path:
    """A file that appears complete or not at all."""
    draft = path.with_name(f".{path.name}.draft")
    try:
        with draft.open("w", encoding="utf-8", newline="") as file:
            write(file)
        os.replace(draft, path)
    except OSError as error:
        raise UserError(f"-o {path.parent}: cannot be written: {error.strerror}") from error
    return path


def _tensorboard(run: Exported, output: Path) -> Path:
    _imported("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    for name, points in run.chains.items():
        for earlier in (output / name).glob("events.out.tfevents.*"):  # would be shown together with the new ones
            earlier.unlink()
        with SummaryWriter(str(output / name)) as writer:
            writer.add_text("config", indent(run.config_text, "    "), walltime=run.seconds)  # as Markdown: code
            for generation, numbers in points.items():
                for tag, number in numbers.items():
                    writer.add_scalar(tag, number, generation, walltime=run.seconds)
    return output


def _wandb(run: Exported, output: Path) -> Path:
    """A group of the project `autophagy`. WANDB_MODE says whether anything leaves the machine."""
    wandb = _imported("wandb")
    try:
        for name, points in run.chains.items():
            identity = hashlib.sha256(f"{run.name}/{name}".encode()).hexdigest()[:16]
            for earlier in output.glob(f"wandb/offline-run-*-{identity}"):  # `wandb sync` would send both
                shutil.rmtree(earlier)
            about = {"project": "autophagy", "group": run.name, "name": name, "id": identity, "config": dict(run.config)}
            with wandb.init(dir=output, settings=wandb.Settings(silent=True, x_disable_stats=True), **about) as chain:
                for generation, numbers in points.items():
                    chain.log(numbers, step=generation)
    except wandb.errors.Error as error:
        raise UserError(f"--to wandb: {error}; with WANDB_MODE=offline no account is needed") from error
    return output / "wandb"


def _mlflow(run: Exported, output: Path) -> Path:
    """An experiment of the run's name in an sqlite store."""
    mlflow = _imported("mlflow")
    store = output.resolve() / "mlflow.db"
    client = mlflow.MlflowClient(f"sqlite:///{store}")
    found = client.get_experiment_by_name(run.name)
    where = found.experiment_id if found else client.create_experiment(run.name, (store.parent / "mlflow").as_uri())
    milliseconds = int(1000 * run.seconds)
    for name, points in run.chains.items():
        for earlier in client.search_runs([where], f"attributes.run_name = '{name}'"):
            client.delete_run(earlier.info.run_id)
        chain = client.create_run(where, milliseconds, run_name=name).info.run_id
        client.log_text(chain, run.config_text, "config.yaml")
        logged = [
            mlflow.entities.Metric(tag, number, milliseconds, generation)
            for generation, numbers in points.items()
            for tag, number in numbers.items()
        ]
        for start in range(0, len(logged), 1000):  # more at once are refused
            client.log_batch(chain, logged[start : start + 1000])
        client.set_terminated(chain, end_time=milliseconds)
    return store


def _trackio(run: Exported, output: Path) -> Path:
    """A group of the project `autophagy`, in TRACKIO_DIR if that is set."""
    os.environ.setdefault("TRACKIO_DIR", str(output.resolve() / "trackio"))  # read once, when trackio is imported
    trackio = _imported("trackio")
    chains = run.chains
    try:
        known = list(trackio.Api().runs("autophagy"))
    except ValueError:  # there is no such project yet
        known = []
    for earlier in known:
        if earlier.name in chains and earlier.config["_Group"] == run.name:
            earlier.delete()
    for name, points in chains.items():
        chain = trackio.init(
            "autophagy", name=name, group=run.name, config=dict(run.config), embed=False, auto_log_gpu=False, auto_log_cpu=False
        )
        for generation, numbers in points.items():
            chain.log(numbers, step=generation)
        trackio.finish()
    return Path(importlib.import_module("trackio.utils").TRACKIO_DIR)


def _imported(package: str) -> ModuleType:
    """The package; UserError saying what to install if it is not there."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:  # it is there, and broken
            raise
        raise UserError(f"--to {package}: {package} is not installed; `pip install {package}` installs it") from error


TARGETS: Mapping[str, Callable[[Exported, Path], Path]] = {
    "csv": _csv, "jsonl": _jsonl, "tensorboard": _tensorboard, "wandb": _wandb, "mlflow": _mlflow, "trackio": _trackio,
}  # fmt: skip
