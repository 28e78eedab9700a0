"""Export a finished run to other tools: to one tidy file (CSV or JSON lines), or to an experiment tracker.

In a tracker, each chain is one run with its own name. Its numbers are logged as `axis/metric` over generations. Floors are logged as
separate runs. A second export replaces the first. A tracker's package is imported only when the export needs it.
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
"""Numbers by generation and, within a generation, by `axis/metric`."""


class ExportedRun(RunFolder):
    """Data of a finished run for export."""

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield the rows of rows.parquet. Adds `metric_name`, the display name of the metric, and replaces NaN by None."""
        for row in self.table.to_pylist():
            for name, value in row.items():
                row[name] = None if value != value else value
            yield {**row, "metric_name": display_name(row["metric"], self.config)}

    @property
    def seconds(self) -> float:
        """Modification time of rows.parquet, in seconds since the epoch. It is the time stamp in trackers, equal in repeated exports."""
        return (self.folder / ROWS).stat().st_mtime

    @property
    def chains(self) -> Mapping[str, Points]:
        """Numbers of each chain, by chain name: `policy-seed` or, with several generators, `policy/generator-seed`.

        The chain `_floor-seed` holds the floors, which are the same for all policies. Policy names cannot start with an underscore.
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
    """Export the finished run in `folder` to the target `to`, a key of TARGETS. Returns the path of the export.

    The export is written into the folder `output` (default: `<folder>/export`). Raises UserError if the target is unknown, the package of
    the tracker is not installed, or a folder cannot be read or written.
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
    """Write a file atomically: after an error no partial file is left. Returns its path."""

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
        for earlier in (output / name).glob("events.out.tfevents.*"):  # else TensorBoard shows old and new points together
            earlier.unlink()
        with SummaryWriter(str(output / name)) as writer:
            writer.add_text("config", indent(run.config_text, "    "), walltime=run.seconds)  # Markdown shows indented text as code
            for generation, numbers in points.items():
                for tag, number in numbers.items():
                    writer.add_scalar(tag, number, generation, walltime=run.seconds)
    return output


def _wandb(run: ExportedRun, output: Path) -> Path:
    """Export to a group of the W&B project `autophagy`. The environment variable WANDB_MODE controls whether data is uploaded."""
    wandb = _import_tracker("wandb")
    try:
        for name, points in run.chains.items():
            identity = hashlib.sha256(f"{run.name}/{name}".encode()).hexdigest()[:16]
            for earlier in output.glob(f"wandb/offline-run-*-{identity}"):  # else `wandb sync` uploads the old and the new run
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
    """Export to an MLflow experiment with the name of the run, in an SQLite database in `output`."""
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
        for start in range(0, len(logged), 1000):  # MLflow accepts at most 1,000 metrics per batch
            client.log_batch(chain, logged[start : start + 1000])
        client.set_terminated(chain, end_time=milliseconds)
    return store


def _trackio(run: ExportedRun, output: Path) -> Path:
    """Export to a group of the trackio project `autophagy`. The folder is TRACKIO_DIR, or `trackio` in `output` if that is not set."""
    os.environ.setdefault("TRACKIO_DIR", str(output.resolve() / "trackio"))  # trackio reads the variable once, on import
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
    """Import the package of a tracker. If it is not installed, raises UserError with the install command."""
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
