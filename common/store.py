"""Store: everything that is made is kept under the hash of how it was made.

    recipe (JSON) ──sha256──► key ──► artifacts/ab/abcd.../{files..., manifest.json}

An artifact is built in a draft folder, sealed with a manifest, flushed to disk and renamed once, so a folder that exists
is complete: there is no status file and no database, and resuming is running the same command again. What is read is
checked against the digests in its manifest; what does not match is named, set aside (never deleted) and built anew.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
import time
import uuid
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from .errors import UserError

FORMAT = 1
MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Artifact:
    """A complete, verified folder of the store."""

    key: str
    folder: Path
    manifest: Mapping[str, Any]

    @property
    def digest(self) -> str:
        """sha256 over the names and digests of its files: equal bytes, equal digest, however they were made."""
        return _sha256(canonical({name: entry["sha256"] for name, entry in self.manifest["files"].items()}))


class Store:
    """A folder of artifacts. Any number of processes may share it."""

    def __init__(self, root: Path):
        self.root = Path(root)
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
    ) -> Artifact:
        """The artifact of a recipe, built only if the store does not have it.

        `build(folder, scratch)` writes its files into `folder`. What it keeps in `scratch` outlives a killed process, so
        a long build can go on where it stopped. Of several processes that want the same artifact, one builds and the
        others wait; the lock goes with the process that holds it, so a killed one leaves nothing locked.

        Raises ValueError if the recipe holds anything that has no canonical JSON form.
        """
        key = key_of(recipe)
        if found := self._read(key):
            return found
        with FileLock(self.root / "locks" / f"{key}.lock"):
            if found := self._read(key, set_aside=True):
                return found
            draft = self.root / "drafts" / f"{key[:16]}-{uuid.uuid4().hex[:8]}"
            scratch = self.root / "scratch" / key
            draft.mkdir()
            scratch.mkdir(exist_ok=True)
            started = time.perf_counter()
            try:
                build(draft, scratch)
                seconds = time.perf_counter() - started
                _seal(draft, key=key, recipe=recipe, provenance={**(provenance or {}), "seconds": round(seconds, 3)})
                target = self._folder(key)
                target.parent.mkdir(exist_ok=True)
                os.rename(draft, target)
                _flush(target.parent)
            except BaseException:
                shutil.rmtree(draft, ignore_errors=True)
                raise
            shutil.rmtree(scratch, ignore_errors=True)
        found = self._read(key)
        assert found is not None, "an artifact that was just sealed is there"
        return found

    def _folder(self, key: str) -> Path:
        return self.root / "artifacts" / key[:2] / key

    def _read(self, key: str, *, set_aside: bool = False) -> Artifact | None:
        """The artifact under a key, its bytes checked once per process; a damaged one counts as none.

        Only the holder of the key's lock may set it aside: by then it may have been mended by another.
        """
        if key in self._seen and self._seen[key].folder.exists():
            return self._seen[key]
        folder = self._folder(key)
        if not folder.exists():
            return None
        artifact, fault = inspect(folder, key=key)
        if artifact is None and not set_aside:
            return None
        if artifact is None:
            aside = self.root / "set-aside" / f"{key}-{uuid.uuid4().hex[:8]}"
            aside.parent.mkdir(exist_ok=True)
            os.rename(folder, aside)
            warnings.warn(f"artifact {key[:16]} is damaged ({fault}); moved to {aside}, will be built anew", stacklevel=3)
            return None
        self._seen[key] = artifact
        return artifact


def key_of(recipe: Mapping[str, Any]) -> str:
    """The key of a recipe: sha256 of its canonical JSON."""
    return _sha256(canonical(recipe))


def canonical(value: Any, *, where: str = "recipe") -> bytes:
    """JSON with sorted keys and no spaces; ValueError for whatever has no unambiguous JSON form (objects, NaN, other keys)."""
    _refuse_unhashable(value, where)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode()


def inspect(folder: Path, *, key: str) -> tuple[Artifact | None, str]:
    """An artifact and "", or None and what is wrong with it."""
    try:
        manifest = json.loads((folder / MANIFEST).read_bytes())
        if manifest["format"] != FORMAT:
            return None, f"format {manifest['format']}, this version reads {FORMAT}"
        if manifest["key"] != key or key_of(manifest["recipe"]) != key:
            return None, "its recipe does not give its key"
        files, present = manifest["files"], set(_files(folder))
        if missing := set(files) - present:
            return None, f"{sorted(missing)[0]} is missing"
        if foreign := present - set(files):
            return None, f"{sorted(foreign)[0]} does not belong to it"
        for name, entry in files.items():
            if _digest(folder / name) != entry["sha256"]:
                return None, f"{name} does not have the bytes it was sealed with"
    except (OSError, ValueError, KeyError, TypeError) as error:
        return None, f"{MANIFEST} cannot be read: {type(error).__name__}: {error}"
    return Artifact(key, folder, manifest), ""


def _seal(folder: Path, *, key: str, recipe: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
    names = sorted(_files(folder))
    files = {name: {"sha256": _digest(folder / name), "bytes": (folder / name).stat().st_size} for name in names}
    manifest = {"format": FORMAT, "key": key, "recipe": recipe, "files": files, "provenance": provenance}
    (folder / MANIFEST).write_text(json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False), encoding="utf-8")
    for name in (*names, MANIFEST):
        _flush(folder / name)
    for parent in {(folder / name).parent for name in names} | {folder}:
        _flush(parent)


def _files(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file() and path.name != MANIFEST]


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _refuse_unhashable(value: Any, where: str) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{where} has the key {key!r}; keys are strings")
            _refuse_unhashable(inner, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            _refuse_unhashable(inner, f"{where}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is {value}; a recipe holds finite numbers")
    elif not (value is None or isinstance(value, str | int | float | bool)):
        raise ValueError(f"{where} is a {type(value).__name__}; a recipe holds JSON values only")
