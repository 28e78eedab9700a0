"""Text that is expensive to compute and depends only on the installed versions, kept in the user's cache folder."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from .atomic_write import atomic_write


def cached_text(name: str, compute: Callable[[], str]) -> str:
    """Return the cached text `name`, or compute and cache it. `name` must contain the versions that the text depends on.

    Without a readable and writable cache folder the text is computed at each call.
    """
    path = cache_folder() / name
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        text = compute()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, lambda draft: draft.write_text(text, encoding="utf-8"))
    except OSError:
        pass  # a cache that cannot be written only costs time
    return text


def cache_folder() -> Path:
    """The user's cache folder: `autophagy` below XDG_CACHE_HOME, LOCALAPPDATA (Windows) or ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA") or "~/.cache").expanduser() / "autophagy"
