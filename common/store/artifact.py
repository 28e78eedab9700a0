"""Artifacts: complete folders of the store. Each has a manifest with the recipe, the digest of every file and the build cost.

    recipe (JSON) ──sha256──► key        bytes of files ──sha256──► digest        the rest of the manifest ──sha256──► seal

The recipe is the JSON object that determines the content of the artifact. An artifact contains regular files only, because the target
of a link could change. Files (old weights) can be dropped to save space. The manifest keeps their digests, so results that were
computed from them stay valid.
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
"""Maximum size of a manifest in bytes. This module neither writes nor reads longer files."""

MODEL = "model"
"""Name of the folder with the weights in the artifact of a fit. The folder can be dropped to save space."""

FileStats = Mapping[str, tuple[int, ...]]
"""Maps a file name to mode, size in bytes, mtime and ctime in nanoseconds, and inode."""


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
    stats: FileStats
    """State of the files when they were verified."""

    @property
    def digest(self) -> str:
        """sha256 of the names and digests of the files. Artifacts with equal files have equal digests, even if their recipes differ."""
        return digest_of(self.manifest)

    @property
    def n_bytes(self) -> int:
        """Size of the files and the manifest in bytes. Includes dropped files."""
        _, manifest_bytes, *_ = self.stats[MANIFEST]
        return manifest_bytes + sum(file["bytes"] for file in self.manifest["files"].values())

    @property
    def has_dropped_files(self) -> bool:
        """True if some files were dropped to save space."""
        return bool(_dropped(self.manifest["files"]))

    @property
    def unchanged(self) -> bool:
        """True if modes, sizes, times and inodes of the files have not changed since they were verified."""
        try:
            return _file_stats(self.folder) == self.stats
        except OSError:
            return False


def key_of(recipe: Mapping[str, Any]) -> str:
    """Compute the key of a recipe: sha256 of its canonical JSON."""
    return sha256_of(canonical_json(recipe))


def digest_of(manifest: Mapping[str, Any]) -> str:
    """Compute the digest of an artifact from its manifest."""
    return sha256_of(canonical_json({name: entry["sha256"] for name, entry in manifest["files"].items()}))


def inspect(folder: Path, *, key: str) -> tuple[Artifact | None, str]:
    """Verify every byte of an artifact. Returns (artifact, ""), or (None, fault) if the artifact is damaged.

    Links are rejected and not followed, so nothing outside the folder is read.
    """
    try:
        if not stat.S_ISDIR(os.lstat(folder).st_mode):
            return None, "it is a file or a symbolic link, not a folder"
        stats = _file_stats(folder)  # read first, so that later changes are detected
        if irregular := _irregular_file(stats):
            return None, f"{irregular} is not a regular file"
        manifest, fault = read_manifest(folder, key=key)
        if manifest is None:
            return None, fault
        files, present = manifest["files"], set(stats) - {MANIFEST}
        if missing := set(files) - present - _dropped(files):
            return None, f"{sorted(missing)[0]} is missing"
        if foreign := present - set(files):
            return None, f"{sorted(foreign)[0]} is not listed in {MANIFEST}"
        for name in sorted(present - _dropped(files)):
            if _digest(folder / name) != files[name]["sha256"]:
                return None, f"{name} does not match its digest in {MANIFEST}"
    except (OSError, RecursionError) as error:
        return None, f"it cannot be read: {type(error).__name__}: {error}"
    return Artifact(key, folder, manifest, stats), ""


def read_manifest(folder: Path, *, key: str) -> tuple[Mapping[str, Any] | None, str]:
    """Read and verify the manifest of an artifact, but not the files. Returns (manifest, ""), or (None, fault) if it is damaged."""
    try:
        if folder.is_symlink() or not stat.S_ISREG(os.lstat(folder / MANIFEST).st_mode):
            return None, f"{MANIFEST} is not a regular file"
        with (folder / MANIFEST).open("rb") as file:
            raw = file.read(MANIFEST_BYTES + 1)
        if len(raw) > MANIFEST_BYTES:
            return None, f"{MANIFEST} is longer than {MANIFEST_BYTES:,} bytes"
        manifest: Mapping[str, Any] = json.loads(raw, object_hook=_intern_strings)
        if manifest["format"] != FORMAT:
            return None, f"{MANIFEST} has format {manifest['format']}, this version reads format {FORMAT}"
        _Manifest.model_validate(manifest)
        if manifest["key"] != key or key_of(manifest["recipe"]) != key:
            return None, "the hash of its recipe is not its key"
        if manifest["seal"] != seal_of(manifest):
            return None, f"{MANIFEST} does not match its seal"
    except ValidationError as error:
        first = error.errors()[0]
        return None, f"{MANIFEST} is invalid: {'.'.join(map(str, first['loc']))}: {first['msg']}"
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        return None, f"{MANIFEST} cannot be read: {type(error).__name__}: {error}"
    return manifest, ""


def seal(folder: Path, *, key: str, recipe: Mapping[str, Any], provenance: Mapping[str, Any]) -> Mapping[str, Any]:
    """Write the manifest of a folder and flush all files to the disk. Returns the manifest.

    Raises UserError if the folder contains links or special files.
    """
    stats = _file_stats(folder)
    if irregular := _irregular_file(stats):
        raise UserError(f"the build wrote {irregular}, which is not a regular file; artifacts cannot contain links or special files")
    names = sorted(set(stats) - {MANIFEST})
    files = {name: {"sha256": _digest(folder / name), "bytes": (folder / name).stat().st_size} for name in names}
    manifest: dict[str, Any] = {"format": FORMAT, "key": key, "recipe": recipe, "files": files, "provenance": provenance}
    manifest["seal"] = seal_of(manifest)
    _write_manifest(folder / MANIFEST, manifest)
    for name in names:
        flush(folder / name)
    for parent, *_ in os.walk(folder):
        flush(Path(parent))
    return manifest


def seal_of(manifest: Mapping[str, Any]) -> str:
    """Compute sha256 of a manifest without its seal. The seal protects provenance and sizes, which key and file digests do not cover."""
    return sha256_of(canonical_json({name: value for name, value in manifest.items() if name != "seal"}, where=MANIFEST))


def drop(folder: Path, manifest: Mapping[str, Any], subfolder: str, *, draft: Path) -> None:
    """Delete a sub-folder of an artifact to save space. The digest of the artifact stays the same. The caller must hold its lock.

    The manifest is replaced before the files are deleted, so the artifact is valid after a crash at any point.
    `draft`: an unused path on the same file system.
    """
    files = {name: {**entry, "dropped": True} if name.startswith(f"{subfolder}/") else entry for name, entry in manifest["files"].items()}
    changed = {**manifest, "files": files}
    _write_manifest(draft, {**changed, "seal": seal_of(changed)})
    os.replace(draft, folder / MANIFEST)
    flush(folder)
    shutil.rmtree(folder / subfolder)


def flush(path: Path) -> None:
    """Flush a file, or the directory entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def walk_files(folder: str | Path, *, prefix: str = "") -> Iterator[tuple[str, os.stat_result]]:
    """Yield the relative name and `lstat` of each entry below a folder, except folders. Links are not followed."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from walk_files(entry.path, prefix=f"{prefix}{entry.name}/")
            else:
                yield f"{prefix}{entry.name}", entry.stat(follow_symlinks=False)


def _file_stats(folder: Path) -> FileStats:
    """Return the state of each file. Raises OSError if `folder` is a link or not a folder."""
    if not stat.S_ISDIR(os.lstat(folder).st_mode):
        raise NotADirectoryError(folder)
    return {name: (file.st_mode, file.st_size, file.st_mtime_ns, file.st_ctime_ns, file.st_ino) for name, file in walk_files(folder)}


def _irregular_file(stats: FileStats) -> str | None:
    """Return the first name of a link, pipe, socket or device. None if all files are regular files."""
    return min((name for name, (mode, *_) in stats.items() if not stat.S_ISREG(mode)), default=None)


def _intern_strings(mapping: dict[str, Any]) -> dict[str, Any]:
    """Share equal strings between manifests to save memory. Long runs load thousands of manifests with the same versions and machine."""
    return {sys.intern(name): sys.intern(value) if type(value) is str else value for name, value in mapping.items()}


def _dropped(files: Mapping[str, Mapping[str, Any]]) -> set[str]:
    """Return the names of the dropped files in the `files` entry of a manifest."""
    return {name for name, entry in files.items() if entry.get("dropped")}


def _write_manifest(path: Path, manifest: Mapping[str, Any]) -> None:
    text = json.dumps(manifest, indent=1, sort_keys=True, ensure_ascii=False).encode()
    if len(text) > MANIFEST_BYTES:
        raise UserError(f"the manifest of an artifact (recipe and list of files) has {len(text):,} bytes; the limit is {MANIFEST_BYTES:,}")
    path.write_bytes(text)
    flush(path)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
