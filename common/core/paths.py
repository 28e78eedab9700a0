"""Parsing of paths that users write in a config."""

from __future__ import annotations

from pathlib import Path

from .errors import UserError, short_repr


def path_of(raw: str, *, key: str) -> Path:
    """Convert the value of the config key `key` to a path and expand `~`. The path need not exist.

    Raises UserError if the operating system rejects the path: the path is too long or has null bytes, symbolic links form a
    loop, or the user after `~` is unknown.
    """
    try:
        path = Path(raw).expanduser()
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        pass
    except (OSError, RuntimeError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else error
        raise UserError(f"{key}: {short_repr(raw)} is not a valid path on this machine: {reason}") from error
    return path
