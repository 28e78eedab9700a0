"""Runs experiments and writes their results: config.yaml, rows.parquet, samples/ and provenance.json."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.parquet as parquet

from ..config.schema import Experiment, load_config
from ..core.atomic_write import atomic_write
from ..core.errors import UserError
from ..core.pool import Pool
from ..store.in_use import Ledger
from ..store.run_records import RunRecord
from .scheduler import ChainResult, run_all
from .workers import ProgressCallback, ignore_progress

if TYPE_CHECKING:
    import pandas

SCHEMA = pa.schema(
    {
        "experiment": pa.string(),
        "modality": pa.string(),
        "data": pa.string(),
        "generator": pa.string(),
        "policy": pa.string(),
        "seed": pa.int64(),
        "generation": pa.int64(),
        "metric": pa.string(),
        "axis": pa.string(),
        "value": pa.float64(),
        "unit": pa.string(),
        "higher_is_better": pa.bool_(),
        "floor": pa.float64(),
        "floor_sd": pa.float64(),
        "n": pa.int64(),
    }
)
"""Columns of rows.parquet. Each row holds one number (tidy data)."""


def run(
    *configs: str | Path | Experiment,
    store: str | Path = "runs/store",
    out: str | Path | None = None,
    workers: int | None = 1,
    progress: ProgressCallback = ignore_progress,
) -> pandas.DataFrame:
    """Run experiments and return their rows as a pandas frame (see SCHEMA). With `out`, also write `<out>/<name>/` for each.

    configs: paths of YAML files, or experiments from `load_config`.
    store: folder that caches all artifacts. Repeating a finished call takes seconds.
    workers: number of processes. None: one per core or, on GPUs, two per GPU. Unless it is 1, a script needs `if __name__ == "__main__":`.
    Raises UserError for problems that the user can fix.
    """
    experiments = [config if isinstance(config, Experiment) else load_config(config) for config in configs]
    return table_of(
        execute(experiments, store=Path(store), out=None if out is None else Path(out), workers=workers, progress=progress)
    ).to_pandas()


def execute(
    experiments: Sequence[Experiment], *, store: Path, out: Path | None, workers: int | None, progress: ProgressCallback
) -> list[dict[str, Any]]:
    """Run experiments, write the results of each to `<out>/<name>/`, and return all rows."""
    check_unique_names(experiments)
    if out is not None:
        check_output_folders(experiments, out=out, store=store)
    results = run_all(experiments, store=store, workers=workers, progress=progress)
    if out is not None:
        for experiment in experiments:
            write_results(experiment, results[experiment.name], out / experiment.name)
    for experiment in experiments:
        Ledger.of(experiment.name, experiment.yaml(), store=store).close()
    return [row for result in results.values() for row in result.rows]


def check_unique_names(experiments: Sequence[Experiment]) -> None:
    """Raise UserError if two experiments have the same name, because the name determines the output folder."""
    names = [experiment.name for experiment in experiments]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"name: two experiments are called '{name}', so one would overwrite the other's results; rename one")


def check_output_folders(experiments: Sequence[Experiment], *, out: Path, store: Path) -> None:
    """Raise UserError unless the output folder of each experiment is a folder (or missing), below `out` and outside the store.

    `out` itself may be a symbolic link. Links below it are rejected because they could redirect the output.
    """
    for experiment in experiments:
        folder = out / experiment.name
        try:
            for path in (folder, folder / "samples"):
                if path.is_symlink():
                    raise UserError(f"--out: {path} is a symbolic link to {os.readlink(path)}, which is not allowed; use a real folder")
            existing = next(path for path in (folder / "samples", folder, *folder.parents) if path.exists() or path.is_symlink())
            if not existing.is_dir():
                raise UserError(f"--out: {existing} is not a folder")
            if Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(store)):
                raise UserError(
                    f"name: the output folder of '{experiment.name}' is inside the store ({folder}), which is not allowed; "
                    "change name or --out"
                )
        except OSError as error:
            raise UserError(f"--out: {folder} cannot be accessed: {error}") from error


def table_of(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Convert rows to an Arrow table with the columns of SCHEMA."""
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


def write_results(experiment: Experiment, result: ChainResult, folder: Path) -> None:
    """Write the result files of an experiment. Each file is written completely or not at all."""
    record = RunRecord(result.models, _seconds_by_stage(result), artifacts=sorted(result.seconds))
    try:
        (folder / "samples").mkdir(parents=True, exist_ok=True)
        atomic_write(folder / "config.yaml", lambda path: path.write_text(experiment.yaml(), encoding="utf-8"))
        atomic_write(folder / "samples" / "pool.arrow", Pool.concat(result.samples).write)
        record.write(folder)
        atomic_write(folder / "rows.parquet", lambda path: parquet.write_table(table_of(result.rows), path))
    except OSError as error:
        raise UserError(f"--out: {folder} cannot be written: {error.strerror}") from error


def _seconds_by_stage(result: ChainResult) -> dict[str, float]:
    """Sum the build time in seconds of each kind of stage, longest first. Shared artifacts count once."""
    seconds: dict[str, float] = {}
    for name, duration in result.seconds.values():
        seconds[name] = seconds.get(name, 0.0) + duration
    return dict(sorted(seconds.items(), key=lambda item: -item[1]))
