"""Reads and writes `provenance.json`, the record of a finished run. Determines the artifacts that kept runs need."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..core.atomic_write import atomic_write
from ..core.errors import UserError
from .layout import KEY

RECORD = "provenance.json"


@dataclass(frozen=True)
class RunRecord:
    """The content of `provenance.json`: `{"models": [...], "seconds": {...}, "artifacts": [...]}`."""

    models: Sequence[Mapping[str, Any]]
    """For each model: policy, generator, seed, generation, key, and the provenance of its fit."""
    seconds: Mapping[str, float]
    """Build time in seconds of each kind of stage."""
    artifacts: Sequence[str] | None
    """Keys of all artifacts that the same command would look up. None in records of version 0.1, which do not list them."""

    @classmethod
    def read(cls, folder: Path) -> RunRecord:
        """Read the record in a run folder. Raises UserError if it is missing or invalid."""
        try:
            raw = json.loads((folder / RECORD).read_bytes())
            return cls(raw["models"], raw["seconds"], raw.get("artifacts"))
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise UserError(f"{folder}: {RECORD} cannot be read: {type(error).__name__}: {error}") from error

    def write(self, folder: Path) -> None:
        """Write the record into a run folder, completely or not at all. Raises OSError if the write fails."""
        record = {"models": self.models, "seconds": self.seconds, "artifacts": self.artifacts}
        atomic_write(folder / RECORD, lambda path: path.write_text(json.dumps(record, indent=1)))


@dataclass(frozen=True)
class KeptRun:
    """A finished run that garbage collection keeps, and the keys that the run needs."""

    folder: Path
    artifacts: frozenset[str]
    """Keys of all artifacts that the same command would look up."""
    end_models: frozenset[str]
    """Keys of the models of the first and the last generation. Added policies and generations start from these models."""
    middle_models: frozenset[str]
    """Keys of the models of all other generations."""


def kept_runs(folders: Sequence[Path]) -> list[KeptRun]:
    """Read the runs in `folders`, or in the folders directly below them. Raises UserError if a record is missing or invalid."""
    return [_read_kept_run(run_folder) for folder in folders for run_folder in _run_folders(folder)]


def _run_folders(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise UserError(f"{folder}: this folder does not exist")
    if _is_run_folder(folder):
        return [folder]
    runs = sorted(path for path in folder.iterdir() if _is_run_folder(path))
    if not runs:
        raise UserError(
            f"{folder}: neither this folder nor one directly below it contains a run (no {RECORD}); name a folder that `run` wrote"
        )
    return runs


def _is_run_folder(folder: Path) -> bool:
    return (folder / RECORD).is_file() or (folder / "config.yaml").is_file()


def _read_kept_run(folder: Path) -> KeptRun:
    advice = "run the same command again (this takes seconds if its artifacts exist) or omit this folder"
    if not (folder / RECORD).exists():
        raise UserError(f"{folder}: this run is not finished, because it has no {RECORD}; {advice}")
    try:
        record = RunRecord.read(folder)
    except UserError as error:
        raise UserError(f"{error}; {advice}") from error
    if record.artifacts is None:
        raise UserError(f"{folder}: {RECORD} does not list the artifacts that the run needs (no 'artifacts'); {advice}")
    try:
        last = max((model["generation"] for model in record.models), default=0)
        end_models = frozenset(model["key"] for model in record.models if model["generation"] in (0, last))
        middle_models = frozenset(model["key"] for model in record.models) - end_models
        if invalid := [key for key in (*record.artifacts, *end_models, *middle_models) if not KEY.fullmatch(key)]:
            raise ValueError(f"'{invalid[0]}' is not a key of 64 hexadecimal digits")
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{folder}: {RECORD} is invalid: {type(error).__name__}: {error}; {advice}") from error
    return KeptRun(folder, frozenset(record.artifacts), end_models, middle_models)
