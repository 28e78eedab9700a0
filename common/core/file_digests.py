"""Content digests of data files. Hashing reads every byte, so digests are remembered in the user's cache folder.

A remembered digest is used while path, size, modification time and change time of its file stay the same. Each folder of data files has
one file of digests, `digests/<hash of the folder>.json`, with entries `path: [size, mtime_ns, ctime_ns, digest]`.
"""

from __future__ import annotations

import hashlib
import json
import os
import time
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from .atomic_write import atomic_write
from .canonical_json import sha256_of
from .errors import UserError
from .threads import Progress, ignore_items, map_in_threads
from .user_cache import cache_folder

FRESH_NS = 2 * 10**9
"""Digests of files that changed less than this many nanoseconds ago are not remembered.

A second change within one tick of the file system's clock would go unnoticed.
"""
NAMED_FAULTS = 3
"""Number of unreadable files that an error message names."""

State = list[int]
"""Size in bytes, modification time and change time in nanoseconds of a file."""
Memory = Mapping[str, list[Any]]
"""Maps the absolute path of a file to its state, followed by its digest."""


def file_digests(files: Mapping[str, Path], *, progress: Progress = ignore_items) -> Mapping[str, str]:
    """Return the SHA-256 digest of each file by name. Reads only files that are new or have changed since the last call.

    Raises UserError with the names of files that cannot be read.
    """
    path_of_memory = _path_of_memory(files.values())
    known, started = _read_memory(path_of_memory), time.time_ns()

    def entry_of(path: str) -> list[Any] | OSError:
        try:
            state, entry = _state(path), known.get(path)
            if entry is not None and entry[:-1] == state:
                return entry
            with open(path, "rb") as file:
                return [*state, hashlib.file_digest(file, "sha256").hexdigest()]
        except OSError as error:
            return error

    paths = {name: os.path.abspath(path) for name, path in files.items()}
    entries = dict(zip(paths, map_in_threads(entry_of, list(paths.values()), progress=progress), strict=True))
    faults = [(files[name], entry.strerror or str(entry)) for name, entry in entries.items() if isinstance(entry, OSError)]
    if faults:
        raise unreadable_files(faults, total=len(files), where="data")
    readable = {name: entry for name, entry in entries.items() if not isinstance(entry, OSError)}
    settled = {paths[name]: entry for name, entry in readable.items() if started - max(entry[1:-1]) > FRESH_NS}
    if any(known.get(path) != entry for path, entry in settled.items()):
        others = {path: entry for path, entry in known.items() if os.path.lexists(path)}
        _write_memory(path_of_memory, {**others, **settled})
    return {name: entry[-1] for name, entry in readable.items()}


def digest_of_files(digests: Mapping[str, str]) -> str:
    """Compute one digest of the names and the contents of files. It has a fixed length, unlike a list of thousands of digests."""
    lines = (os.fsencode(name) + b"\0" + digests[name].encode() + b"\n" for name in sorted(digests))
    return sha256_of(b"".join(lines))


def unreadable_files(faults: Sequence[tuple[Path, str]], *, total: int, where: str) -> UserError:
    """Return the error for files that cannot be read. It names the first few and their number. `faults`: path and reason of each."""
    named = [f"{path} cannot be read: {reason}" for path, reason in faults[:NAMED_FAULTS]]
    if len(faults) == 1:
        return UserError(f"{where}: {named[0]}")
    more = [f"and {len(faults) - NAMED_FAULTS:,} more"] if len(faults) > NAMED_FAULTS else []
    listed = "\n  ".join([*named, *more])
    return UserError(f"{where}: {len(faults):,} of {total:,} files cannot be read; repair or remove them:\n  {listed}")


def _state(path: str) -> State:
    status = os.stat(path)
    return [status.st_size, status.st_mtime_ns, status.st_ctime_ns]


def _path_of_memory(paths: Collection[Path]) -> Path:
    folder = os.path.commonpath([os.path.dirname(os.path.abspath(path)) for path in paths])
    return cache_folder() / "digests" / f"{sha256_of(os.fsencode(folder))[:32]}.json"


def _read_memory(path: Path) -> Memory:
    """Read remembered digests. Empty if there are none or the file is damaged."""
    try:
        memory = json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(memory, dict):
        return {}
    return {name: entry for name, entry in memory.items() if isinstance(entry, list) and [type(part) for part in entry] == ENTRY_TYPES}


ENTRY_TYPES = [int, int, int, str]


def _write_memory(path: Path, memory: Memory) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, lambda draft: draft.write_text(json.dumps(memory), encoding="utf-8"))
    except OSError:
        pass  # digests that cannot be remembered only cost time
