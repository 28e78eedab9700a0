"""Records side effects of Python code: files written outside of given folders, connections opened and programs started.

The recorder uses audit events of Python (PEP 578), so tests need no mocks. Files that libraries write from C code raise no audit event.
Tests compare folders to find such files.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
PATH_ARGUMENTS = {
    "os.mkdir": (0,),
    "os.remove": (0,),
    "os.rmdir": (0,),
    "os.rename": (0, 1),
    "os.link": (0, 1),
    "os.symlink": (0, 1),
    "os.truncate": (0,),
}
"""Audit events that change files, with the positions of the path arguments."""
BLOCKED = (
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

_effects: list[str] | None = None
_allowed: tuple[str, ...] = ()


def _audit(event: str, arguments: tuple) -> None:
    if _effects is None:
        return
    if event in BLOCKED:
        _effects.append(f"{event} {arguments}"[:200])
        raise PermissionError(f"{event}: blocked by the test")
    elif event == "open" and isinstance(arguments[0], str | bytes) and isinstance(arguments[2], int) and arguments[2] & WRITING:
        _record_path(event, arguments[0])
    elif event in PATH_ARGUMENTS:
        for position in PATH_ARGUMENTS[event]:
            _record_path(event, arguments[position])


def _record_path(event: str, path: str | bytes | os.PathLike) -> None:
    name = os.path.abspath(os.fsdecode(path)) if not isinstance(path, int) else ""
    if name and "__pycache__" not in name and name not in IGNORED and not name.startswith(_allowed):
        _effects.append(f"{event} {name}")


@contextmanager
def recorded_side_effects(*folders: Path) -> Iterator[list[str]]:
    """Yield a list that collects the side effects of the `with` block: writes outside `folders`, connections and started programs.

    Connections and programs are blocked.
    """
    global _effects, _allowed
    if not hasattr(sys, "_autophagy_audit_hook"):  # an audit hook cannot be removed
        sys.addaudithook(_audit)
        sys._autophagy_audit_hook = True
    _effects, _allowed = [], tuple(str(folder) for folder in folders)
    try:
        yield _effects
    finally:
        _effects = None
