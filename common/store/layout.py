"""Contents: what lies in the folders of a store, for those who look after it. Nothing here changes anything."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from ..core.errors import UserError
from .artifact import entries

KEY = re.compile(r"[0-9a-f]{64}")


def check_store_exists(store: Path) -> None:
    try:
        os.scandir(store / "artifacts").close()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise UserError(f"--store {store}: there is no store here: it has no folder 'artifacts'") from error
    except OSError as error:
        raise UserError(f"--store {store}: cannot be read: {error.strerror}") from error


def key_of_place(path: Path) -> str | None:
    """The key whose artifact belongs at a path below `artifacts`; None if none does."""
    named = KEY.fullmatch(path.name) and path.parent.name == path.name[:2]
    return path.name if named else None


def places(store: Path) -> Iterator[Path]:
    """Whatever stands where artifacts stand, in the order of keys; also what is none."""
    for prefix in _sorted(store / "artifacts"):
        if re.fullmatch(r"[0-9a-f]{2}", prefix.name) and prefix.is_dir(follow_symlinks=False):
            yield from (Path(entry.path) for entry in _sorted(Path(prefix.path)))
        else:
            yield Path(prefix.path)


def drafts(store: Path) -> Iterator[tuple[str, Path]]:
    """Drafts of artifacts, with their keys: some are being built now, others were left by killed processes."""
    for entry in _sorted(store / "drafts"):
        key, _, _ = entry.name.rpartition("-")
        if len(key) == 16:  # names held so much of a key once; the lock has all of it
            key = next((lock.name[:64] for lock in _sorted(store / "locks") if lock.name.startswith(key)), key)
        yield key, Path(entry.path)


def under_key(folder: Path) -> Iterator[tuple[str, Path]]:
    """What a folder (`scratch`, `locks`) has for keys; what is not named after one is not ours."""
    for entry in _sorted(folder):
        if KEY.match(entry.name) and entry.name[64:] in ("", ".lock"):
            yield entry.name[:64], Path(entry.path)


def lock_of(store: Path, key: str) -> Path:
    return store / "locks" / f"{key}.lock"


def place_of(store: Path, key: str) -> Path:
    """Where the artifact of a key stands, or would."""
    return store / "artifacts" / key[:2] / key


def draft_of(store: Path, key: str) -> Path:
    """A new name for what is on its way to that place, or away from it."""
    return store / "drafts" / f"{key}-{uuid.uuid4().hex[:8]}"


def held(store: Path, key: str) -> bool:
    """Whether a process holds the lock of a key now, as far as this one may know: in a store it may only read, it may not."""
    path = lock_of(store, key)
    if not path.is_file():
        return False
    try:
        with FileLock(path, timeout=0):
            return False
    except Timeout:
        return True
    except OSError:
        return False


def size(path: Path) -> int:
    """Bytes of the files below a path; what is removed meanwhile, or may not be looked at, has none."""
    try:
        if path.is_symlink() or not path.is_dir():
            return path.lstat().st_size
        return sum(file.st_size for _, file in entries(path))
    except OSError:
        return 0


def _sorted(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda entry: entry.name)
    except FileNotFoundError:
        return []
    except OSError as error:
        raise UserError(f"--store: {folder} cannot be read: {error.strerror}") from error
