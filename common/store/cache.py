"""Finds or builds artifacts. The path of an artifact is the hash of its recipe (the JSON that determines its content).

    recipe (JSON) ──sha256──► key ──► artifacts/ab/abcd.../{files..., manifest.json}

An artifact is built in a draft folder, sealed with a manifest, flushed to the disk and moved into place by one rename. So every existing
folder is complete. The store needs no status file and no database, and the same command resumes a stopped run. Every artifact is compared
with the digests in its manifest before use. A damaged artifact is reported, moved to `set-aside` (never deleted) and rebuilt.
"""

from __future__ import annotations

import os
import resource
import shutil
import sys
import time
import uuid
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from ..core.errors import UserError
from .artifact import Artifact, digest_of, flush, inspect, key_of, seal
from .layout import artifact_path, lock_path, new_draft_path


class ArtifactMissing(Exception):
    """An artifact disappeared or changed between lookup and use, or lacks dropped files that are needed. A new lookup rebuilds it."""

    def __init__(self, key: str):
        super().__init__(key)
        self.key = key

    def __str__(self) -> str:
        return (
            f"artifact {self.key[:16]} disappeared from the store while it was in use, or its weights disappeared. "
            "Check whether another program removes files from the store; the same command rebuilds it"
        )


class Store:
    """A folder of artifacts. Any number of processes can share it.

    on_use: callback that gets each key before its lookup. It records keys, so that garbage collection keeps their artifacts.
    """

    def __init__(self, root: Path, *, on_use: Callable[[str], None] = lambda key: None):
        self.root, self._on_use = Path(root), on_use
        self._verified: dict[str, Artifact] = {}
        try:
            for name in ("artifacts", "drafts", "locks", "scratch"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--store {self.root}: cannot be used as a store: {error.strerror}") from error

    def find(self, recipe: Mapping[str, Any]) -> Artifact | None:
        """Return the artifact of a recipe. None if the store does not have it."""
        return self._look_up(key_of(recipe))

    def make(
        self,
        recipe: Mapping[str, Any],
        build: Callable[[Path, Path], None],
        *,
        provenance: Mapping[str, Any] | None = None,
        complete: Collection[str] = (),
    ) -> Artifact:
        """Return the artifact of a recipe. Builds the artifact if the store does not have it.

        recipe: JSON that determines the content of the artifact. Raises ValueError if it has no canonical JSON form.
        build: `build(folder, scratch)` writes the files of the artifact into `folder`. Files in `scratch` survive a killed process,
        so that a long build can continue. Only one process builds an artifact. Others wait for its lock, which ends with the process.
        provenance: added to the manifest, together with the build time in seconds and the peak memory.
        complete: keys of artifacts that must have all files. Such an artifact is rebuilt if files were dropped.
        """
        key = key_of(recipe)
        artifact = self._look_up(key)
        if artifact and not (artifact.has_dropped_files and key in complete):
            return artifact
        with self._lock(key):
            artifact = self._look_up(key, set_aside_damaged=True)
            if artifact and not (artifact.has_dropped_files and key in complete):
                return artifact
            self._build(key, recipe, build, provenance or {}, replaces=artifact)
        artifact = self._look_up(key)
        if artifact is None:
            raise ArtifactMissing(key)
        return artifact

    @contextmanager
    def reading(self, artifact: Artifact, *, complete: bool = False) -> Iterator[Path]:
        """Yield the folder of an artifact to a block that reads its files.

        complete: True if the block also needs files that may have been dropped. Raises ArtifactMissing if files are missing or have
        changed since they were verified.
        """
        if not artifact.unchanged or (complete and artifact.has_dropped_files):
            raise ArtifactMissing(artifact.key)
        try:
            yield artifact.folder
        except Exception as error:
            if artifact.unchanged:
                raise
            raise ArtifactMissing(artifact.key) from error
        if not artifact.unchanged:
            raise ArtifactMissing(artifact.key)

    # ---- lookup -------------------------------------------------------------------------------------------------------

    def _look_up(self, key: str, *, set_aside_damaged: bool = False) -> Artifact | None:
        """Return the artifact of a key. None if it does not exist or is damaged. Verifies the bytes once per process and after changes.

        set_aside_damaged: only allowed while holding the lock of the key. Otherwise, another process may have repaired the artifact.
        """
        if key in self._verified and self._verified[key].unchanged:
            return self._verified[key]
        folder = artifact_path(self.root, key)
        self._on_use(key)
        self._reject_link(folder.parent)
        if not os.path.lexists(folder):
            return None
        artifact, fault = inspect(folder, key=key)
        if artifact is not None:
            self._verified[key] = artifact
        elif set_aside_damaged:
            aside = self._set_aside(folder, f"is damaged ({fault})")
            warnings.warn(f"artifact {key[:16]} is damaged ({fault}); it was moved to {aside} and will be rebuilt", stacklevel=3)
        return artifact

    def _set_aside(self, folder: Path, reason: str) -> Path:
        aside = self.root / "set-aside" / f"{folder.name}-{uuid.uuid4().hex[:8]}"
        try:
            aside.parent.mkdir(exist_ok=True)
            os.rename(folder, aside)
        except OSError as error:
            message = f"artifact {folder.name[:16]} {reason}, and cannot be moved to {aside}: {error.strerror}"
            raise UserError(f"--store {self.root}: {message}") from error
        return aside

    # ---- building -----------------------------------------------------------------------------------------------------

    def _build(
        self,
        key: str,
        recipe: Mapping[str, Any],
        build: Callable[[Path, Path], None],
        provenance: Mapping[str, Any],
        *,
        replaces: Artifact | None,
    ) -> None:
        """Build an artifact in a draft folder and move it into place. The caller must hold the lock of the key.

        replaces: the existing artifact, if it is rebuilt because it lacks dropped files.
        """
        target, draft, scratch = artifact_path(self.root, key), new_draft_path(self.root, key), self.root / "scratch" / key
        with self._write_errors(draft):
            self._reject_link(scratch)
            draft.mkdir()
            scratch.mkdir(exist_ok=True)
        started = time.perf_counter()
        try:
            build(draft, scratch)
            cost = {"seconds": round(time.perf_counter() - started, 3), "peak_bytes": _peak_bytes()}
            with self._write_errors(target):
                manifest = seal(draft, key=key, recipe=recipe, provenance={**provenance, **cost})
                target.parent.mkdir(exist_ok=True)
                if replaces:
                    self._move_away(replaces, digest_of(manifest))
                os.rename(draft, target)
                for parent in (target.parent, target.parent.parent):
                    flush(parent)
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        shutil.rmtree(scratch, ignore_errors=True)

    def _move_away(self, old: Artifact, new_digest: str) -> None:
        """Remove an artifact with dropped files, so that its rebuilt version can replace it. Set it aside if the bytes differ."""
        if old.digest == new_digest:
            aside = new_draft_path(self.root, old.key)
            os.rename(old.folder, aside)
            shutil.rmtree(aside, ignore_errors=True)
            return
        aside = self._set_aside(old.folder, "differs from its rebuilt version")
        warnings.warn(
            f"artifact {old.key[:16]} was rebuilt because its weights had been dropped, and its bytes differ from before (other library "
            f"versions or another machine?); the old artifact was moved to {aside}; everything computed from it will be rebuilt",
            stacklevel=4,
        )

    @contextmanager
    def _lock(self, key: str) -> Iterator[None]:
        path = lock_path(self.root, key)
        lock = FileLock(path)
        with self._write_errors(path):
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _write_errors(self, path: Path) -> Iterator[None]:
        """Convert an OSError of the block to a UserError that names the store and `path`."""
        try:
            yield
        except OSError as error:
            raise UserError(f"--store {self.root}: {path} cannot be written: {error.strerror}") from error

    def _reject_link(self, path: Path) -> None:
        if path.is_symlink():
            raise UserError(f"--store {self.root}: {path} is a symbolic link, which is not allowed inside a store; remove the link")


def _peak_bytes() -> int:
    """Return the peak memory of this process in bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak  # bytes on macOS, kilobytes elsewhere
