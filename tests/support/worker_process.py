"""Tasks for worker processes that report on the process they run in."""

from __future__ import annotations

import os
import sys


def environment_at_start(variable: str) -> tuple[int, str, bool]:
    """The process, the value that a variable had before the process ran any Python, and whether torch is imported."""
    with open("/proc/self/environ", "rb") as file:
        at_start = dict(entry.partition(b"=")[::2] for entry in file.read().split(b"\0") if entry)
    return os.getpid(), at_start.get(variable.encode(), b"").decode(), "torch" in sys.modules
