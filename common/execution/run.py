"""From experiments to a folder of results: config.yaml, rows.parquet, samples/, provenance.json and report.html."""

from __future__ import annotations

import json
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
from .scheduler import ChainResult, run_all
from .workers import ProgressCallback

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
"""The columns of rows.parquet: tidy, one number a row."""


def run(
    *configs: str | Path | Experiment,
    store: str | Path = "runs/store",
    out: str | Path | None = None,
    workers: int = 1,
    watch: ProgressCallback = lambda event: None,
) -> pandas.DataFrame:
    """Run experiments and give their rows as a pandas frame; with `out`, also write `<out>/<name>/` for each.

    configs: paths of YAML files or experiments from `load_config`. Everything made is kept in `store`, so running the same
    again takes seconds. workers: processes; with more than one, a script needs `if __name__ == "__main__":`.
    Raises UserError for what a user can put right.
    """
    experiments = [config if isinstance(config, Experiment) else load_config(config) for config in configs]
    check_unique_names(experiments)
    if out is not None:
        check_output_folders(experiments, out=Path(out), store=Path(store))
    outcomes = run_all(experiments, store=Path(store), workers=workers, watch=watch)
    if out is not None:
        for experiment in experiments:
            write(experiment, outcomes[experiment.name], Path(out) / experiment.name)
    for experiment in experiments:
        Ledger.of(experiment.name, experiment.yaml(), store=Path(store)).close()
    return table_of([row for outcome in outcomes.values() for row in outcome.rows]).to_pandas()


def check_unique_names(experiments: Sequence[Experiment]) -> None:
    names = [experiment.name for experiment in experiments]
    for name in names:
        if names.count(name) > 1:
            raise UserError(f"name: two of the experiments are called '{name}'; results are written under their names")


def check_output_folders(experiments: Sequence[Experiment], *, out: Path, store: Path) -> None:
    """UserError if the results of an experiment could not be written, or would land elsewhere than below `out`, or in the store.

    Asked before anything runs. `out` itself may be a link; one below it was put there by somebody, and is not followed.
    """
    for experiment in experiments:
        folder = out / experiment.name
        try:
            for path in (folder, folder / "samples"):
                if path.is_symlink():
                    raise UserError(f"--out: {path} is a link to {os.readlink(path)}; results are written to folders of their own")
            there = next(path for path in (folder / "samples", folder, *folder.parents) if path.exists() or path.is_symlink())
            if not there.is_dir():
                raise UserError(f"--out: {there} is no folder")
            if Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(store)):
                raise UserError(
                    f"name: '{experiment.name}' would be written to {folder}, where the store is; another name or --out, please"
                )
        except OSError as error:
            raise UserError(f"--out: {folder} cannot be looked at: {error}") from error


def default_workers(experiments: Sequence[Experiment]) -> int:
    """As many as there are processors this process may use, but never more than there are chains."""
    return max(1, min(processors(), sum(chains(experiment) for experiment in experiments)))


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def chains(experiment: Experiment) -> int:
    return len(experiment.arms) * len(experiment.seeds)


def table_of(rows: Sequence[dict[str, Any]]) -> pa.Table:
    """Rows as an Arrow table of SCHEMA."""
    return pa.Table.from_pylist(list(rows), schema=SCHEMA)


def write(experiment: Experiment, outcome: ChainResult, folder: Path) -> None:
    """Write the results of an experiment; each file appears complete or not at all."""
    try:
        (folder / "samples").mkdir(parents=True, exist_ok=True)
        atomic_write(folder / "config.yaml", lambda path: path.write_text(experiment.yaml(), encoding="utf-8"))
        atomic_write(folder / "samples" / "pool.arrow", Pool.concat(outcome.samples).write)
        generated = {"models": outcome.models, "seconds": _by_stage(outcome), "artifacts": sorted(outcome.seconds)}
        atomic_write(folder / "provenance.json", lambda path: path.write_text(json.dumps(generated, indent=1)))
        atomic_write(folder / "rows.parquet", lambda path: parquet.write_table(table_of(outcome.rows), path))
    except OSError as error:
        raise UserError(f"--out: {folder} cannot be written: {error.strerror}") from error


def _by_stage(outcome: ChainResult) -> dict[str, float]:
    """Seconds that each kind of stage cost when it was made, stages that chains share counted once; dearest first."""
    found: dict[str, float] = {}
    for name, seconds in outcome.seconds.values():
        found[name] = found.get(name, 0.0) + seconds
    return dict(sorted(found.items(), key=lambda item: -item[1]))
