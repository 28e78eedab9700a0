"""Verifies a store: checks every byte of every artifact and changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .artifact import inspect, read_manifest
from .layout import artifact_paths, bytes_below, check_store_exists, drafts, is_locked, key_of_path


@dataclass(frozen=True)
class CheckResult:
    """The state of one entry in the folders of artifacts."""

    path: Path
    key: str | None
    """None if the path is not an artifact path; `fault` then says so."""
    bytes: int
    stage: str = ""
    fault: str = ""
    """What is wrong; empty for a valid artifact."""
    dropped: bool = False
    """True if its weights were dropped to save space."""


def paths_to_check(store: Path) -> Sequence[Path]:
    """The paths of all artifacts of a store. Raises UserError if it is not a store."""
    check_store_exists(store)
    return list(artifact_paths(store))


def check_artifacts(paths: Sequence[Path]) -> Iterator[CheckResult]:
    """Check the bytes of the artifacts at `paths`. Skips those that another process removes or sets aside meanwhile."""
    for path in paths:
        key = key_of_path(path)
        if key is None:
            yield CheckResult(path, None, bytes_below(path), fault="this path is not the path of an artifact")
            continue
        for _ in range(2):  # a concurrent run may have replaced it while it was read
            artifact, fault = inspect(path, key=key)
            if artifact is not None or not os.path.lexists(path):
                break
        if artifact is not None:
            stage = str(artifact.manifest["recipe"].get("stage", ""))
            n_bytes = sum(size for _, size, *_ in artifact.stats.values())
            yield CheckResult(path, key, n_bytes, stage, dropped=artifact.has_dropped_files)
        elif os.path.lexists(path):
            yield CheckResult(path, key, bytes_below(path), _stage(path, key), fault)


def abandoned_drafts(store: Path) -> list[Path]:
    """Drafts that no process is building, left by killed runs."""
    return [path for key, path in drafts(store) if not is_locked(store, key)]


def _stage(path: Path, key: str) -> str:
    """The stage of a damaged artifact. Empty if its manifest is damaged too."""
    manifest, _ = read_manifest(path, key=key)
    return str(manifest["recipe"].get("stage", "")) if manifest else ""
