"""Files that appear complete or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path


def atomic_write(path: Path, write_to: Callable[[Path], object]) -> None:
    """Write a file by calling `write_to(draft)`, then rename the draft to `path`. Raises OSError if either fails.

    Readers see the old file or the new one, never part of one. The draft is in the same folder as the file. Data may still be
    in the system's cache afterwards; `write_to` can call `os.fsync` if the file must survive a power cut.
    """
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)  # opening an existing symbolic link would write to its target
    write_to(draft)
    os.replace(draft, path)
