"""What a machine has and may run out of: memory, disk, open files, the right to write."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import psutil

from .errors import UserError

MEGABYTE = 10**6
SHARE = 0.25
"""Share of the memory that data may take: splits are copies of it, and models and features need room beside them."""

LACKS = (
    *(errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM),
    *(errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.EAGAIN, errno.EIO),
)
"""Numbers of system errors that speak of the machine, not of whoever's code met them."""

OUT_OF_MEMORY = ("can't allocate memory", "CUDA out of memory", "MPS backend out of memory")
"""What torch says, which has no error of its own for it on every device."""


def machine_fault(error: BaseException) -> str | None:
    """What the machine lacked if an error, or one that it came from, arose for that; None if it did not.

    Libraries have errors of their own for a full disk (safetensors, pyarrow, torch); what they say of its cause is looked for too.
    """
    for one in cause_chain(error):
        said = str(one)
        if isinstance(one, MemoryError) or any(words in said for words in OUT_OF_MEMORY):
            return f"out of memory: {said.splitlines()[0] if said else 'no more was to be had'}"
        if isinstance(one, OSError) and one.errno in LACKS:
            return f"{one.filename}: {one.strerror}" if one.filename else str(one.strerror)
        if found := next((os.strerror(number) for number in LACKS if os.strerror(number) in said), None):
            return f"{found}: {type(one).__name__}: {said.splitlines()[0]}"
    return None


def free_disk(folder: Path) -> int:
    """Bytes that may still be written where a folder is, or will be."""
    there = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return shutil.disk_usage(there).free


def free_memory() -> int:
    """Bytes of this machine's memory that nobody uses."""
    return psutil.virtual_memory().available


def check_memory(n_bytes: int, *, what: str) -> None:
    """UserError if data of so many bytes would take more than its share of the memory there is."""
    most = int(SHARE * psutil.virtual_memory().total)
    if n_bytes > most:
        raise UserError(
            f"{what} would take {n_bytes // MEGABYTE:,} MB; an experiment's data may take {most // MEGABYTE:,} MB on this machine"
        )


def cause_chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from, the last first."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
