"""Paths that users write in a config."""

from __future__ import annotations

from pathlib import Path

from .errors import UserError, short_repr


def path_of(raw: str, *, key: str) -> Path:
    """The path that the config key `key` names, with `~` expanded. It need not exist.

    Raises UserError if the operating system rejects the path: too long, null bytes, a loop of symbolic links, an unknown user.
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
