"""Kept runs: which artifacts the runs in some folders need, as `run` wrote it down when they were done."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ..core.errors import UserError
from .layout import KEY

RECORD = "provenance.json"


@dataclass(frozen=True)
class RunRecord:
    """A finished run that is kept."""

    folder: Path
    artifacts: frozenset[str]
    """Keys of whatever running it again would look for."""
    ends: frozenset[str]
    """Keys of the models of its first and last generations: what more policies and more generations start from."""
    between: frozenset[str]
    """Keys of the models of all other generations."""


def run_records(folders: Sequence[Path]) -> list[RunRecord]:
    """The runs in folders that `run` wrote, or in the folders directly below them. UserError if it is not certain what one needs."""
    return [_read(folder) for given in folders for folder in _runs_in(given)]


def _runs_in(given: Path) -> list[Path]:
    if not given.is_dir():
        raise UserError(f"{given}: there is no such folder")
    if (given / RECORD).is_file() or (given / "config.yaml").is_file():
        return [given]
    below = sorted(path for path in given.iterdir() if (path / RECORD).is_file() or (path / "config.yaml").is_file())
    if not below:
        raise UserError(f"{given}: neither it nor a folder in it was written by `run`: there is no {RECORD}")
    return below


def _read(folder: Path) -> RunRecord:
    again = "run it again, which takes seconds if all it needs is still there, or leave it out"
    try:
        generated = json.loads((folder / RECORD).read_bytes())
        artifacts, models = generated["artifacts"], generated["models"]
        last = max((model["generation"] for model in models), default=0)
        ends = frozenset(model["key"] for model in models if model["generation"] in (0, last))
        between = frozenset(model["key"] for model in models) - ends
        if wrong := [key for key in (*artifacts, *ends, *between) if not KEY.fullmatch(key)]:
            raise ValueError(f"'{wrong[0]}' is no key")
    except FileNotFoundError as error:
        raise UserError(f"{folder}: this run is not finished, it has no {RECORD}; {again}") from error
    except KeyError as error:
        raise UserError(f"{folder}: its {RECORD} does not say which artifacts it needs (no {error}); {again}") from error
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise UserError(f"{folder}: its {RECORD} cannot be read: {error}; {again}") from error
    return RunRecord(folder, frozenset(artifacts), ends, between)
