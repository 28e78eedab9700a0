"""Watches what Python code does to the world outside: files written, connections opened, programs started.

It listens to Python's own audit events (PEP 578), so nothing has to be replaced by a stand-in. What libraries write from C is
seen by looking at folders instead.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
CHANGES = {
    "os.mkdir": (0,),
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.rename": (0, 1),
    "os.link": (0, 1),
    "os.symlink": (0, 1),
    "os.truncate": (0,),
}
OUTSIDE = (
    "socket.connect",
    "socket.getaddrinfo",
    "socket.gethostbyname",
    "subprocess.Popen",
    "os.system",
    "os.exec",
    "os.posix_spawn",
    "os.fork",
)
IGNORED = ("/dev/null", "/dev/tty")

_deeds: list[str] | None = None
_allowed: tuple[str, ...] = ()


def _listen(event: str, arguments: tuple) -> None:
    if _deeds is None:
        return
    if event in OUTSIDE:
        _deeds.append(f"{event} {arguments}"[:200])
        raise PermissionError(f"{event}: not while somebody is watching")
    elif event == "open" and isinstance(arguments[0], str | bytes) and isinstance(arguments[2], int) and arguments[2] & WRITING:
        _written(event, arguments[0])
    elif event in CHANGES:
        for place in CHANGES[event]:
            _written(event, arguments[place])


def _written(event: str, path: str | bytes | os.PathLike) -> None:
    name = os.path.abspath(os.fsdecode(path)) if not isinstance(path, int) else ""
    if name and "__pycache__" not in name and name not in IGNORED and not name.startswith(_allowed):
        _deeds.append(f"{event} {name}")


@contextmanager
def watched(*folders: Path) -> Iterator[list[str]]:
    """What is done inside and has no business being done: anything written elsewhere than in these folders, and any connection or
    program, which is kept from happening."""
    global _deeds, _allowed
    if not hasattr(sys, "_autophagy_guard"):
        sys.addaudithook(_listen)
        sys._autophagy_guard = True
    _deeds, _allowed = [], tuple(str(folder) for folder in folders)
    try:
        yield _deeds
    finally:
        _deeds = None
