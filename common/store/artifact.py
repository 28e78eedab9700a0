"""Artifact: a complete folder of the store, whose manifest says how it was made and which bytes it has.

    recipe (JSON) ──sha256──► key        bytes of files ──sha256──► digest        the rest of the manifest ──sha256──► seal

Only regular files belong to one: what a link points at may change, and lies outside the store. Of a file that was dropped (old
weights, to save space) the manifest keeps the digest, so all that was made from it stays valid and findable.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import stat
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, ValidationError

from ..core.canonical_json import canonical_json, sha256_of
from ..core.errors import UserError

FORMAT = 2
MANIFEST = "manifest.json"
MANIFEST_BYTES = 2**24
"""No manifest is longer. What is longer was not written here, and is not read into memory."""

MODEL = "model"
"""The folder of a fit's artifact that holds weights; they may be dropped once everything that needed them is made."""

State = Mapping[str, tuple[int, ...]]
"""Mode, size in bytes, times of change in nanoseconds and inode of every file of a folder, by name."""


class _File(BaseModel, strict=True):
    sha256: str
    bytes: int
    dropped: bool = False


class _Provenance(BaseModel, strict=True):
    seconds: Annotated[float, Field(ge=0, allow_inf_nan=False)]


class _Manifest(BaseModel, strict=True):
    key: str
    recipe: dict[str, Any]
    files: dict[str, _File]
    provenance: _Provenance
    seal: str


@dataclass(frozen=True)
class Artifact:
    """A complete, verified folder of the store."""

    key: str
    folder: Path
    manifest: Mapping[str, Any]
    state: State
    """Of its files when they were verified."""

    @property
    def digest(self) -> str:
        """sha256 over the names and digests of its files: equal bytes, equal digest, however they were made."""
        return digest_of(self.manifest)

    @property
    def n_bytes(self) -> int:
        """What it took on the disk when it was sealed, its manifest included."""
        _, manifest, *_ = self.state[MANIFEST]
        return manifest + sum(file["bytes"] for file in self.manifest["files"].values())

    @property
    def dropped(self) -> bool:
        """Whether some of its files were dropped."""
        return bool(_dropped(self.manifest["files"]))

    @property
    def unchanged(self) -> bool:
        """Whether its files are those that were verified, as far as their sizes, times and inodes tell."""
        try:
            return _state(self.folder) == self.state
        except OSError:
            return False


def key_of(recipe: Mapping[str, Any]) -> str:
    """The key of a recipe: sha256 of its canonical JSON."""
    return sha256_of(canonical_json(recipe))


def digest_of(manifest: Mapping[str, Any]) -> str:
    """The digest of the artifact that a manifest belongs to."""
    return sha256_of(canonical_json({name: entry["sha256"] for name, entry in manifest["files"].items()}))


def inspect(folder: Path, *, key: str) -> tuple[Artifact | None, str]:
    """An artifact and "", or None and what is wrong with it. Whatever the folder holds, nothing outside it is read."""
    try:
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            return None, "it is a file or a link, not a folder"
        state = _state(folder)  # before the bytes are read, so that what changes meanwhile shows later
        if irregular := sorted(name for name, (mode, *_) in state.items() if not stat.S_ISREG(mode)):
            return None, f"{irregular[0]} is not a regular file"
        manifest, fault = read_manifest(folder, key=key)
        if manifest is None:
            return None, fault
        files, present = manifest["files"], set(state) - {MANIFEST}
        if missing := set(files) - present - _dropped(files):
            return None, f"{sorted(missing)[0]} is missing"
        if foreign := present - set(files):
            return None, f"{sorted(foreign)[0]} does not belong to it"
        for name in sorted(present - _dropped(files)):
            if _digest(folder / name) != files[name]["sha256"]:
                return None, f"{name} does not have the bytes it was sealed with"
    except (OSError, RecursionError) as error:
        return None, f"it cannot be read: {type(error).__name__}: {error}"
    return Artifact(key, folder, manifest, state), ""


def read_manifest(folder: Path, *, key: str) -> tuple[Mapping[str, Any] | None, str]:
    """The manifest of an artifact and "", or None and what is wrong with it. The files it lists are not looked at."""
    try:
        if folder.is_symlink() or not stat.S_ISREG(os.lstat(folder / MANIFEST).st_mode):
            return None, f"{MANIFEST} is not a regular file"
        with (folder / MANIFEST).open("rb") as file:
            written = file.read(MANIFEST_BYTES + 1)
        if len(written) > MANIFEST_BYTES:
            return None, f"{MANIFEST} is longer than {MANIFEST_BYTES:,} bytes"
        manifest = json.loads(written, object_hook=_shared)
        if manifest["format"] != FORMAT:
            return None, f"format {manifest['format']}, this version reads {FORMAT}"
        _Manifest.model_validate(manifest)
        if manifest["key"] != key or key_of(manifest["recipe"]) != key:
            return None, "its recipe does not give its key"
        if manifest["seal"] != seal_of(manifest):
            return None, f"{MANIFEST} does not say what it was sealed with"
    except ValidationError as error:
        first = error.errors()[0]
        return None, f"{MANIFEST} is not one: {'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        return None, f"{MANIFEST} cannot be read: {type(error).__name__}: {error}"
    return manifest, ""


def seal(folder: Path, *, key: str, recipe: Mapping[str, Any], provenance: Mapping[str, Any]) -> Mapping[str, Any]:
    """Write the manifest of a folder and flush all of it to the disk. UserError if it holds what no artifact may."""
    state = _state(folder)
    if irregular := sorted(name for name, (mode, *_) in state.items() if not stat.S_ISREG(mode)):
        raise UserError(f"{irregular[0]}, which was built for the store, is not a regular file; an artifact holds no links")
    names = sorted(set(state) - {MANIFEST})
    files = {name: {"sha256": _digest(folder / name), "bytes": (folder / name).stat().st_size} for name in names}
    manifest = {"format": FORMAT, "key": key, "recipe": recipe, "files": files, "provenance": provenance}
    manifest["seal"] = seal_of(manifest)
    _write_manifest(folder / MANIFEST, manifest)
    for name in names:
        flush(folder / name)
    for parent, *_ in os.walk(folder):
        flush(Path(parent))
    return manifest


def drop(folder: Path, manifest: Mapping[str, Any], part: str, *, draft: Path) -> None:
    """Drop a sub-folder of an artifact, whose lock the caller holds. Its digest stays what it was.

    The manifest says first that these files may be missing, so a crash in between leaves a good artifact. draft: a path on the same
    file system where nothing is yet.
    """
    files = {name: {**entry, "dropped": True} if name.startswith(f"{part}/") else entry for name, entry in manifest["files"].items()}
    left = {**manifest, "files": files}
    _write_manifest(draft, {**left, "seal": seal_of(left)})
    os.replace(draft, folder / MANIFEST)
    flush(folder)
    shutil.rmtree(folder / part)


def flush(path: Path) -> None:
    """Make sure that a file, or the names in a folder, are on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def entries(folder: str | Path, *, within: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Everything below a folder that is not itself a folder: its name, and what `lstat` says of it."""
    with os.scandir(folder) as found:
        for entry in found:
            if entry.is_dir(follow_symlinks=False):
                yield from entries(entry.path, within=f"{within}{entry.name}/")
            else:
                yield f"{within}{entry.name}", entry.stat(follow_symlinks=False)


def _shared(found: dict[str, Any]) -> dict[str, Any]:
    """The same, every string held once: thousands of manifests name the same versions, and a long run keeps them all in memory."""
    return {sys.intern(name): sys.intern(value) if type(value) is str else value for name, value in found.items()}


def _state(folder: Path) -> State:
    """OSError if it is no folder, or a link to one."""
    if not stat.S_ISDIR(os.lstat(folder).st_mode):
        raise NotADirectoryError(folder)
    return {name: (file.st_mode, file.st_size, file.st_mtime_ns, file.st_ctime_ns, file.st_ino) for name, file in entries(folder)}


def _dropped(files: Mapping[str, Mapping[str, Any]]) -> set[str]:
    return {name for name, entry in files.items() if entry.get("dropped")}


def seal_of(manifest: Mapping[str, Any]) -> str:
    """sha256 of all that a manifest says beside its seal, so that what it says of time, versions and sizes is known to be true too."""
    return sha256_of(canonical_json({name: said for name, said in manifest.items() if name != "seal"}, where=MANIFEST))


def _write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    written = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False).encode()
    if len(written) > MANIFEST_BYTES:
        raise UserError(f"a recipe and its list of files would take {len(written):,} bytes; at most {MANIFEST_BYTES:,} can be kept")
    path.write_bytes(written)
    flush(path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
