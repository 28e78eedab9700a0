"""Store: everything that is made is kept under the hash of how it was made.

    recipe (JSON) ──sha256──► key ──► artifacts/ab/abcd.../{files..., manifest.json}

An artifact is built in a draft folder, sealed with a manifest, flushed to disk and renamed once, so a folder that exists
is complete: there is no status file and no database, and resuming is running the same command again. What is read is
checked against the digests in its manifest; what does not match is named, set aside (never deleted) and built anew.
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
from .layout import draft_of, lock_of, place_of


class ArtifactMissing(Exception):
    """An artifact that was found is no longer there, or no longer whole, now that it is read. Looking for it again makes it anew."""

    def __init__(self, key: str):
        super().__init__(key)
        self.key = key

    def __str__(self) -> str:
        return (
            f"artifact {self.key[:16]} was in the store and is gone, or its weights are, now that they are needed; "
            "does something take files out of the store while it is used? The same command makes it anew"
        )


class Store:
    """A folder of artifacts. Any number of processes may share it.

    used: hears of every key before it is looked for, so that whoever frees artifacts can leave them to those who use them.
    """

    def __init__(self, root: Path, *, used: Callable[[str], None] = lambda key: None):
        self.root, self._used = Path(root), used
        self._seen: dict[str, Artifact] = {}
        try:
            for name in ("artifacts", "drafts", "locks", "scratch"):
                (self.root / name).mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"--store {self.root}: cannot be used as a store: {error.strerror}") from error

    def find(self, recipe: Mapping[str, Any]) -> Artifact | None:
        """The artifact of a recipe if the store has it."""
        return self._read(key_of(recipe))

    def make(
        self,
        recipe: Mapping[str, Any],
        build: Callable[[Path, Path], None],
        *,
        provenance: Mapping[str, Any] | None = None,
        whole: Collection[str] = (),
    ) -> Artifact:
        """The artifact of a recipe, built only if the store does not have it, or if files of it were dropped and its key is in `whole`.

        `build(folder, scratch)` writes its files into `folder`. What it keeps in `scratch` outlives a killed process, so
        a long build can go on where it stopped. Of several processes that want the same artifact, one builds and the
        others wait; the lock goes with the process that holds it, so a killed one leaves nothing locked.

        Raises ValueError if the recipe holds anything that has no canonical JSON form.
        """
        key = key_of(recipe)
        found = self._read(key)
        if found and not (found.dropped and key in whole):
            return found
        with self._locked(key):
            found = self._read(key, set_aside=True)
            if found and not (found.dropped and key in whole):
                return found
            target, draft, scratch = place_of(self.root, key), draft_of(self.root, key), self.root / "scratch" / key
            with self._writing(draft):
                self._refuse_link(scratch)
                draft.mkdir()
                scratch.mkdir(exist_ok=True)
            started = time.perf_counter()
            try:
                build(draft, scratch)
                cost = {"seconds": round(time.perf_counter() - started, 3), "peak_bytes": _peak_bytes()}
                with self._writing(target):
                    manifest = seal(draft, key=key, recipe=recipe, provenance={**(provenance or {}), **cost})
                    target.parent.mkdir(exist_ok=True)
                    if found:
                        self._make_room(found, digest_of(manifest))
                    os.rename(draft, target)
                    for parent in (target.parent, target.parent.parent):
                        flush(parent)
            except BaseException:
                shutil.rmtree(draft, ignore_errors=True)
                raise
            shutil.rmtree(scratch, ignore_errors=True)
        found = self._read(key)
        if found is None:
            raise ArtifactMissing(key)
        return found

    @contextmanager
    def reading(self, artifact: Artifact, *, whole: bool = False) -> Iterator[Path]:
        """The folder of an artifact, while files in it are read; with `whole`, also those that may have been dropped.

        Raises Gone if they are not there, or not those that were verified.
        """
        if not artifact.unchanged or (whole and artifact.dropped):
            raise ArtifactMissing(artifact.key)
        try:
            yield artifact.folder
        except Exception as error:
            if artifact.unchanged:
                raise
            raise ArtifactMissing(artifact.key) from error
        if not artifact.unchanged:
            raise ArtifactMissing(artifact.key)

    @contextmanager
    def _locked(self, key: str) -> Iterator[None]:
        path = lock_of(self.root, key)
        lock = FileLock(path)
        with self._writing(path):
            lock.acquire()
        try:
            yield
        finally:
            lock.release()

    @contextmanager
    def _writing(self, path: Path) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise UserError(f"--store {self.root}: {path} cannot be written: {error.strerror}") from error

    def _refuse_link(self, path: Path) -> None:
        if path.is_symlink():
            raise UserError(f"--store {self.root}: {path} is a symbolic link; what a store holds lies inside it")

    def _read(self, key: str, *, set_aside: bool = False) -> Artifact | None:
        """The artifact under a key, its bytes checked once per process, and again if its files have changed; a damaged one counts as none.

        Only the holder of the key's lock may set it aside: by then it may have been mended by another.
        """
        if key in self._seen and self._seen[key].unchanged:
            return self._seen[key]
        folder = place_of(self.root, key)
        self._used(key)
        self._refuse_link(folder.parent)
        if not os.path.lexists(folder):
            return None
        artifact, fault = inspect(folder, key=key)
        if artifact is None and not set_aside:
            return None
        if artifact is None:
            aside = self._set_aside(folder, f"is damaged ({fault})")
            warnings.warn(f"artifact {key[:16]} is damaged ({fault}); moved to {aside}, will be built anew", stacklevel=3)
            return None
        self._seen[key] = artifact
        return artifact

    def _set_aside(self, folder: Path, why: str) -> Path:
        aside = self.root / "set-aside" / f"{folder.name}-{uuid.uuid4().hex[:8]}"
        try:
            aside.parent.mkdir(exist_ok=True)
            os.rename(folder, aside)
        except OSError as error:
            said = f"artifact {folder.name[:16]} {why}, and cannot be moved to {aside}: {error.strerror}"
            raise UserError(f"--store {self.root}: {said}") from error
        return aside

    def _make_room(self, old: Artifact, digest: str) -> None:
        """Move an artifact of which files were dropped out of the way of the one that has just been made in its place."""
        if old.digest == digest:
            aside = draft_of(self.root, old.key)
            os.rename(old.folder, aside)
            shutil.rmtree(aside, ignore_errors=True)
            return
        aside = self._set_aside(old.folder, "has other bytes than before its weights were dropped")
        warnings.warn(
            f"artifact {old.key[:16]}, made again because its weights had been dropped, has other bytes than before (other versions, "
            f"another machine?); the old one moved to {aside}, what was made from it will be made anew",
            stacklevel=3,
        )


def _peak_bytes() -> int:
    """Memory that this process has taken at its fullest so far."""
    kilobytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return kilobytes if sys.platform == "darwin" else 1024 * kilobytes  # where it is given in bytes
