"""Atomic file writes: a file is either complete or not there."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def atomic_write(path: Path, write_to: Callable[[Path], object]) -> None:
    """Write a file by calling `write_to(draft)`, then rename the draft to `path`. Raises OSError if either step fails.

    Readers see the complete old file or the complete new file. The draft is in the same folder as the final file. After the
    return, data may still be in the cache of the operating system. If the file must survive a power cut, `write_to` must call
    `os.fsync`.
    """
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)  # opening an existing symbolic link would write to its target
    write_to(draft)
    os.replace(draft, path)
