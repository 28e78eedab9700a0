"""Machine limits: finds free memory and disk space, and recognises errors that the machine causes."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from .errors import UserError

MEGABYTE = 10**6
MAX_DATA_FRACTION = 0.25
"""Largest fraction of the memory that data may use. The rest is for copies (the splits), models and features."""

MACHINE_ERRNOS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EIO),
)
"""Numbers of system errors with a cause in the machine (full disk, no permission, ...) and not in the code."""

OUT_OF_MEMORY_TEXTS = ("can't allocate memory", "CUDA out of memory", "MPS backend out of memory")
"""Texts of torch's out-of-memory errors. On some devices torch raises them as plain RuntimeError."""


def machine_fault(error: BaseException) -> str | None:
    """Return a message if an error or one of its causes comes from a limit of the machine, else None.

    The texts of errors are searched too, because safetensors, pyarrow and torch have their own exceptions for a full disk.
    """
    for cause in cause_chain(error):
        text = str(cause)
        first_line = text.splitlines()[0] if text else ""
        if isinstance(cause, MemoryError) or any(known in text for known in OUT_OF_MEMORY_TEXTS):
            return f"out of memory: {first_line}" if first_line else "out of memory"
        if isinstance(cause, OSError) and cause.errno in MACHINE_ERRNOS:
            return f"{cause.filename}: {cause.strerror}" if cause.filename else str(cause.strerror)
        system_messages = (os.strerror(number) for number in MACHINE_ERRNOS)
        if message := next((message for message in system_messages if message in text), None):
            return f"{message}: {type(cause).__name__}: {first_line}"
    return None


def cause_chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, its cause, the cause of its cause, and so on."""
    visited: set[int] = set()
    cause: BaseException | None = error
    while cause is not None and id(cause) not in visited:
        visited.add(id(cause))
        yield cause
        cause = cause.__cause__ or cause.__context__


def processors() -> int:
    """Return the number of processors that this process may use. Respects its affinity and the limit of its container."""
    from joblib import cpu_count

    count: int = cpu_count()
    return count


def free_disk(folder: Path) -> int:
    """Return the number of free bytes on the disk of a folder. The folder need not exist."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(existing).free


def free_memory() -> int:
    """Return the number of bytes of memory that are available on this machine."""
    import psutil

    return int(psutil.virtual_memory().available)


def check_memory(n_bytes: int, *, what: str) -> None:
    """Raise UserError if `n_bytes` exceeds the memory limit for data. `what` is the name of the data in the message."""
    import psutil

    limit = int(MAX_DATA_FRACTION * psutil.virtual_memory().total)
    if n_bytes > limit:
        raise UserError(
            f"{what} would take {n_bytes // MEGABYTE:,} MB; an experiment's data may take {limit // MEGABYTE:,} MB on this machine "
            f"({MAX_DATA_FRACTION:.0%} of its memory)"
        )
