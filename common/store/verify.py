"""Verifies a store: compares every byte of every artifact with its digests. Changes nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from .artifact import inspect, read_manifest
from .layout import artifact_paths, bytes_below, check_store_exists, drafts, is_locked, key_of_path


@dataclass(frozen=True)
class CheckResult:
    """State of one entry in the folders of artifacts."""

    path: Path
    key: str | None
    """None if the path is not the path of an artifact. `fault` then contains this message."""
    bytes: int
    stage: str = ""
    fault: str = ""
    """Description of the damage. Empty for a valid artifact."""
    dropped: bool = False
    """True if the weights were dropped to save space."""


def paths_to_check(store: Path) -> Sequence[Path]:
    """Return the paths of all artifacts of a store. Raises UserError if the folder is not a store."""
    check_store_exists(store)
    return list(artifact_paths(store))


def check_artifacts(paths: Sequence[Path]) -> Iterator[CheckResult]:
    """Yield the result of checking each artifact. Skips artifacts that another process removes or sets aside during the check."""
    for path in paths:
        key = key_of_path(path)
        if key is None:
            yield CheckResult(path, None, bytes_below(path), fault="this path is not the path of an artifact")
            continue
        for _ in range(2):  # retry: a concurrent run may replace the artifact during the check
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
    """Return the drafts of killed runs. No process is building them."""
    return [path for key, path in drafts(store) if not is_locked(store, key)]


def _stage(path: Path, key: str) -> str:
    """Return the stage of a damaged artifact. Empty if the manifest is damaged too."""
    manifest, _ = read_manifest(path, key=key)
    return str(manifest["recipe"].get("stage", "")) if manifest else ""
