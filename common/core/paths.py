"""Paths that users write in a config."""

from __future__ import annotations

from pathlib import Path

from .errors import UserError, short_repr


def path_of(written: str, *, key: str) -> Path:
    """The path in the setting `key`, with `~` expanded. It need not exist.

    Raises UserError if the operating system cannot accept such a path (too long, null bytes, a loop of links).
    """
    try:
        path = Path(written).expanduser()
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, RuntimeError, ValueError) as error:
        raise UserError(f"{key}: {short_repr(written)} cannot be a path here: {getattr(error, 'strerror', error)}") from error
    return path
