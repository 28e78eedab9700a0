"""Export a finished run for other tools: one tidy file, or a run for each chain in an experiment tracker.

A tracker is imported only when it is written to. It shows each chain under its own name, its numbers as `axis/metric` over generations,
and the floors as separate chains. A second export replaces the first.
"""

from __future__ import annotations

import csv
import hashlib
import importlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from textwrap import indent
from types import ModuleType
from typing import Any, TextIO

from ..core.atomic_write import atomic_write
from ..core.errors import UserError, did_you_mean
from .metric_names import display_name
from .run_folder import ROWS, RunFolder

Points = Mapping[int, Mapping[str, float]]
"""The numbers of each generation, by `axis/metric`."""


class ExportedRun(RunFolder):
    """A finished run, as exports need it."""

    def rows(self) -> Iterator[dict[str, Any]]:
        """The rows as written, with `metric_name` (the name for readers) next to `metric`. NaN becomes None."""
        for row in self.table.to_pylist():
            for name, value in row.items():
                row[name] = None if value != value else value
            yield {**row, "metric_name": display_name(row["metric"], self.config)}

    @property
    def seconds(self) -> float:
        """When the rows were written, in seconds since the epoch. Trackers need a time, and repeated exports give the same one."""
        return (self.folder / ROWS).stat().st_mtime

    @property
    def chains(self) -> Mapping[str, Points]:
        """The numbers of each chain, by `policy-seed` or, with several generators, `policy/generator-seed`.

        `_floor-seed` holds the floors, which all policies share. No policy's name starts with an underscore.
        """
        chains: dict[str, dict[int, dict[str, float]]] = {}
        for row in self.rows():
            for policy, number in ((row["policy"], row["value"]), ("_floor", row["floor"])):
                if number is not None:
                    name = f"{policy}/{row['generator']}-{row['seed']}" if len(self.generators) > 1 else f"{policy}-{row['seed']}"
                    points = chains.setdefault(name, {}).setdefault(row["generation"], {})
                    points[f"{row['axis']}/{row['metric']}"] = number
        return chains


def export(folder: str | Path, to: str, output: str | Path | None = None) -> Path:
    """Export a finished run to one of TARGETS, into the folder `output` (default: `<folder>/export`). Returns the path of the export.

    Raises UserError if the target is unknown, its package is not installed, or a folder cannot be read or written.
    """
    if to not in TARGETS:
        raise UserError(f"--to {to}: unknown target; known: {', '.join(TARGETS)}{did_you_mean(to, TARGETS)}")
    run = ExportedRun.read(folder)
    output = Path(folder) / "export" if output is None else Path(output)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"-o {output}: cannot be written: {error.strerror}") from error
    return TARGETS[to](run, output)


def _csv(run: ExportedRun, output: Path) -> Path:
    def write(file: TextIO) -> None:
        lines = csv.DictWriter(file, [*run.table.column_names, "metric_name"], lineterminator="\n")
        lines.writeheader()
        lines.writerows(run.rows())

    return _write_file(output / "rows.csv", write)


def _jsonl(run: ExportedRun, output: Path) -> Path:
    lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in run.rows())
    return _write_file(output / "rows.jsonl", lambda file: file.writelines(lines))


def _write_file(path: Path, write: Callable[[TextIO], None]) -> Path:
    """Write a file, completely or not at all."""

    def write_to(draft: Path) -> None:
        with draft.open("w", encoding="utf-8", newline="") as file:
            write(file)

    try:
        atomic_write(path, write_to)
    except OSError as error:
        raise UserError(f"-o {path.parent}: cannot be written: {error.strerror}") from error
    return path


def _tensorboard(run: ExportedRun, output: Path) -> Path:
    _import_tracker("tensorboard")
    from torch.utils.tensorboard import SummaryWriter

    for name, points in run.chains.items():
        for earlier in (output / name).glob("events.out.tfevents.*"):  # TensorBoard would show old and new points together
            earlier.unlink()
        with SummaryWriter(str(output / name)) as writer:
            writer.add_text("config", indent(run.config_text, "    "), walltime=run.seconds)  # as Markdown: code
            for generation, numbers in points.items():
                for tag, number in numbers.items():
                    writer.add_scalar(tag, number, generation, walltime=run.seconds)
    return output


def _wandb(run: ExportedRun, output: Path) -> Path:
    """A group of the project `autophagy`. WANDB_MODE decides whether anything is uploaded."""
    wandb = _import_tracker("wandb")
    try:
        for name, points in run.chains.items():
            identity = hashlib.sha256(f"{run.name}/{name}".encode()).hexdigest()[:16]
            for earlier in output.glob(f"wandb/offline-run-*-{identity}"):  # `wandb sync` would upload both
                shutil.rmtree(earlier)
            settings = wandb.Settings(silent=True, x_disable_stats=True)
            with wandb.init(
                dir=output, settings=settings, project="autophagy", group=run.name, name=name, id=identity, config=dict(run.config)
            ) as chain:
                for generation, numbers in points.items():
                    chain.log(numbers, step=generation)
    except wandb.errors.Error as error:
        raise UserError(f"--to wandb: {error}; set WANDB_MODE=offline to export without an account") from error
    return output / "wandb"


def _mlflow(run: ExportedRun, output: Path) -> Path:
    """An experiment with the run's name in an SQLite store."""
    mlflow = _import_tracker("mlflow")
    store = output.resolve() / "mlflow.db"
    client = mlflow.MlflowClient(f"sqlite:///{store}")
    existing = client.get_experiment_by_name(run.name)
    experiment = existing.experiment_id if existing else client.create_experiment(run.name, (store.parent / "mlflow").as_uri())
    milliseconds = int(1000 * run.seconds)
    for name, points in run.chains.items():
        for earlier in client.search_runs([experiment], f"attributes.run_name = '{name}'"):
            client.delete_run(earlier.info.run_id)
        chain = client.create_run(experiment, milliseconds, run_name=name).info.run_id
        client.log_text(chain, run.config_text, "config.yaml")
        logged = [
            mlflow.entities.Metric(tag, number, milliseconds, generation)
            for generation, numbers in points.items()
            for tag, number in numbers.items()
        ]
        for start in range(0, len(logged), 1000):  # the limit of one batch
            client.log_batch(chain, logged[start : start + 1000])
        client.set_terminated(chain, end_time=milliseconds)
    return store


def _trackio(run: ExportedRun, output: Path) -> Path:
    """A group of the project `autophagy`, in TRACKIO_DIR if that is set."""
    os.environ.setdefault("TRACKIO_DIR", str(output.resolve() / "trackio"))  # read once, when trackio is imported
    trackio = _import_tracker("trackio")
    chains = run.chains
    try:
        existing = list(trackio.Api().runs("autophagy"))
    except ValueError:  # the project does not exist yet
        existing = []
    for earlier in existing:
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


def _import_tracker(package: str) -> ModuleType:
    """Import a package. Raises UserError, with the command that installs it, if it is missing."""
    try:
        return importlib.import_module(package)
    except ModuleNotFoundError as error:
        if error.name != package:  # the package is installed but broken
            raise
        raise UserError(f"--to {package}: {package} is not installed; run `pip install {package}`") from error


TARGETS: Mapping[str, Callable[[ExportedRun, Path], Path]] = {
    "csv": _csv,
    "jsonl": _jsonl,
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
    "trackio": _trackio,
}
