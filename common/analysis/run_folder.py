"""Reader for the folder of a finished run: config, rows, samples and provenance. Used by reports and exports.

Folders that were written by version 0.1 can also be read. This module never runs an experiment.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import pyarrow as pa
import pyarrow.parquet as parquet
import yaml

from ..core.errors import UserError
from ..core.pool import Pool
from ..store.run_records import RunRecord
from .series import COLUMNS, Metric, metric_series

CONFIG, ROWS, SAMPLES = "config.yaml", "rows.parquet", "samples/pool.arrow"
REQUIRED_COLUMNS = (*(name for name in COLUMNS if name not in ("floor_sd", "n")), "axis")
"""Columns that identify a row. A folder without one of them is rejected."""


@dataclass(frozen=True)
class RunFolder:
    """A finished run. The config and the rows are loaded by `read`; samples and provenance are loaded on first use."""

    folder: Path
    name: str
    config: Mapping[str, Any]
    config_text: str
    table: pa.Table
    """Content of rows.parquet."""

    @classmethod
    def read(cls, folder: str | Path, *, files: Sequence[str] = (CONFIG, ROWS)) -> Self:
        """Read a run folder. Raises UserError if one of `files` is missing, or if the config or the rows cannot be read."""
        folder = Path(folder)
        if missing := [name for name in files if not (folder / name).is_file()]:
            raise UserError(f"{folder}: not the folder of a finished run, {missing[0]} is missing")
        try:
            config_text = (folder / CONFIG).read_text(encoding="utf-8")
            config, table = yaml.load(config_text, Loader=_YAML_LOADER), _read_parquet(folder / ROWS)
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise UserError(f"{folder}: cannot be read: {error}") from error
        if absent := [column for column in REQUIRED_COLUMNS if column not in table.column_names]:
            raise UserError(f"{folder}: cannot be read: rows.parquet has no column '{absent[0]}'")
        if not isinstance(config, Mapping) or "name" not in config:
            raise UserError(f"{folder}: cannot be read: config.yaml has no key 'name'")
        return cls(folder, str(config["name"]), config, config_text, table)

    @cached_property
    def columns(self) -> Mapping[str, list[Any]]:
        """Rows as columns, by column name. With several generators, the column `policy` contains `policy · generator`."""
        columns: dict[str, list[Any]] = self.table.to_pydict()
        if len(set(columns["generator"])) > 1:
            columns["policy"] = [
                f"{policy} · {generator}" for policy, generator in zip(columns["policy"], columns["generator"], strict=True)
            ]
        return columns

    @cached_property
    def metrics(self) -> Mapping[str, Metric]:
        """Metrics by id, each with one series per chain."""
        return metric_series(self.columns)

    @cached_property
    def policies(self) -> list[str]:
        """Policies, in the order of the rows."""
        return list(dict.fromkeys(self.columns["policy"]))

    @cached_property
    def generators(self) -> list[str]:
        return list(dict.fromkeys(self.columns["generator"]))

    @cached_property
    def generations(self) -> int:
        """Number of the last generation."""
        return max(self.columns["generation"])

    @cached_property
    def seeds(self) -> int:
        """Number of seeds."""
        return len(set(self.columns["seed"]))

    @property
    def modality(self) -> str:
        return str(self.columns["modality"][0])

    @cached_property
    def provenance(self) -> Provenance:
        """Models of the run and their cost. Raises UserError if provenance.json is missing or damaged."""
        record = RunRecord.read(self.folder)
        return Provenance(record.models, record.seconds)

    @cached_property
    def samples(self) -> Pool:
        """Samples of every policy and generation. With several generators, the metadata column `_policy` contains `policy · generator`."""
        try:
            samples = Pool.load(self.folder / "samples")
        except (OSError, ValueError) as error:
            raise UserError(f"{self.folder}: {SAMPLES} cannot be read: {error}") from error
        if len(self.generators) == 1:
            return samples
        pairs = zip(samples.list("_policy"), samples.list("_generator"), strict=True)
        return samples.note(policy=[" · ".join(pair) if pair[0] else "" for pair in pairs])


@dataclass(frozen=True)
class Provenance:
    """Models of a run with their environment and cost."""

    models: Sequence[Mapping[str, Any]]
    """One record per model: policy, seed, generation, key, library versions, machine, device, seconds and peak memory."""
    seconds: Mapping[str, float]
    """Computing time by stage, in seconds."""

    @property
    def environment(self) -> dict[str, list[str]]:
        """Library versions, machines and devices of the models. A name with several values means that environments differ."""
        values: dict[str, set[str]] = {}
        for model in self.models:
            for name, value in model.items():
                if isinstance(value, str) and name not in ("policy", "generator", "key"):
                    values.setdefault(name, set()).add(value)
        return {name: sorted(found) for name, found in values.items()}

    @property
    def peak_bytes(self) -> tuple[int, int] | None:
        """Smallest and largest peak memory of a fit, in bytes. None if it was not recorded."""
        peaks = [model["peak_bytes"] for model in self.models if model.get("peak_bytes")]
        return (min(peaks), max(peaks)) if peaks else None


_YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The YAML loader in C if PyYAML has it (ten times faster), else the Python loader."""


def _read_parquet(path: Path) -> pa.Table:
    """Read a Parquet file. Does not use `parquet.read_table`, which imports pyarrow.dataset and pandas and takes a second longer."""
    with parquet.ParquetFile(path) as file:
        return file.read()
