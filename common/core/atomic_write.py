"""Files that appear complete or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


def atomic_write(path: Path, write_to: Callable[[Path], Any]) -> None:
    """Write a file by `write_to(draft)`, then rename the draft to `path`. Raises OSError if that fails.

    A reader sees the old file or the new one, never a part. The draft lies beside the file.
    """
    draft = path.with_name(f".{path.name}.draft")
    draft.unlink(missing_ok=True)  # opening an existing symbolic link would write to its target
    write_to(draft)
    os.replace(draft, path)
