"""Layout of a store: computes the paths of a key and lists existing entries. Changes nothing in the store."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from ..core.errors import UserError
from .artifact import walk_files

KEY = re.compile(r"[0-9a-f]{64}")


def check_store_exists(store: Path) -> None:
    """Raise UserError if `store` is not the folder of a store or cannot be read."""
    try:
        os.scandir(store / "artifacts").close()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"--store {store}: not a store, because it has no folder 'artifacts'") from error
    except OSError as error:
        raise UserError(f"--store {store}: cannot be read: {error.strerror}") from error


# ---- paths of a key ---------------------------------------------------------------------------------------------------


def artifact_path(store: Path, key: str) -> Path:
    return store / "artifacts" / key[:2] / key


def lock_path(store: Path, key: str) -> Path:
    return store / "locks" / f"{key}.lock"


def new_draft_path(store: Path, key: str) -> Path:
    """Return an unused path for an artifact during its build or removal."""
    return store / "drafts" / f"{key}-{uuid.uuid4().hex[:8]}"


def key_of_path(path: Path) -> str | None:
    """Return the key that belongs to a path below `artifacts`. None if the path is not the path of an artifact."""
    is_artifact_path = KEY.fullmatch(path.name) and path.parent.name == path.name[:2]
    return path.name if is_artifact_path else None


# ---- existing entries -------------------------------------------------------------------------------------------------


def artifact_paths(store: Path) -> Iterator[Path]:
    """Yield all paths in the folders of artifacts, sorted by key. Includes entries that are not artifacts."""
    for prefix in _sorted_entries(store / "artifacts"):
        if re.fullmatch(r"[0-9a-f]{2}", prefix.name) and prefix.is_dir(follow_symlinks=False):
            yield from (Path(entry.path) for entry in _sorted_entries(Path(prefix.path)))
        else:
            yield Path(prefix.path)


def drafts(store: Path) -> Iterator[tuple[str, Path]]:
    """Yield key and path of each draft. A draft is an artifact during its build, or a leftover of a killed process."""
    for entry in _sorted_entries(store / "drafts"):
        key, _, _ = entry.name.rpartition("-")
        if len(key) == 16:  # drafts of early versions have 16 digits of the key in their names; lock names have all 64
            key = next((lock.name[:64] for lock in _sorted_entries(store / "locks") if lock.name.startswith(key)), key)
        yield key, Path(entry.path)


def entries_by_key(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield key and path of each entry of `scratch` or `locks`. Skips entries whose names are not keys."""
    for entry in _sorted_entries(folder):
        if KEY.match(entry.name) and entry.name[64:] in ("", ".lock"):
            yield entry.name[:64], Path(entry.path)


def is_locked(store: Path, key: str) -> bool:
    """Return True if a process holds the lock of a key. Returns False in a read-only store, where locks cannot be tested."""
    path = lock_path(store, key)
    if not path.is_file():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False


def bytes_below(path: Path) -> int:
    """Return the size in bytes of a file, or of all files below a folder. 0 if the path does not exist or cannot be read."""
    try:
        if path.is_symlink() or not path.is_dir():
            return path.lstat().st_size
        return sum(file.st_size for _, file in walk_files(path))
    except OSError:
        return 0


def _sorted_entries(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"--store: {folder} cannot be read: {error.strerror}") from error
