"""Verify: whether everything in a store is what was put there. Reads every byte and changes none."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .artifact import inspect, read_manifest
from .layout import check_store_exists, drafts, held, key_of_place, places, size


@dataclass(frozen=True)
class Checked:
    """What was found where an artifact stands."""

    path: Path
    key: str | None
    """None if it has none: then it is no artifact, and its fault says so."""
    bytes: int
    stage: str = ""
    fault: str = ""
    """What is wrong with it; empty if nothing is."""
    dropped: bool = False
    """Whether its weights were dropped to save space."""


def to_check(store: Path) -> Sequence[Path]:
    """Where the artifacts of a store stand. UserError if it is no store."""
    check_store_exists(store)
    return list(places(store))


def check(found: Sequence[Path]) -> Iterator[Checked]:
    """Check the bytes of everything that was found; what a run beside this sets aside or frees meanwhile is left out."""
    for path in found:
        key = key_of_place(path)
        if key is None:
            yield Checked(path, None, size(path), fault="it is not an artifact and does not belong here")
            continue
        for _ in range(2):  # a run beside this may have been mending it while it was looked at
            artifact, fault = inspect(path, key=key)
            if artifact is not None or not os.path.lexists(path):
                break
        if artifact is not None:
            stage = str(artifact.manifest["recipe"].get("stage", ""))
            yield Checked(path, key, sum(file[1] for file in artifact.state.values()), stage, dropped=artifact.dropped)
        elif os.path.lexists(path):
            yield Checked(path, key, size(path), _stage(path, key), fault)


def left_drafts(store: Path) -> list[Path]:
    """Drafts that nobody is building: killed runs left them."""
    return [path for key, path in drafts(store) if not held(store, key)]


def _stage(path: Path, key: str) -> str:
    """The stage that a damaged artifact was of, if its manifest is sound."""
    manifest, _ = read_manifest(path, key=key)
    return str(manifest["recipe"].get("stage", "")) if manifest else ""
