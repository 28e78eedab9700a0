"""Sides of a benchmark row for the tests of `scripts/bench.py`. They are in a module that other processes can import."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.row import Task


def count_to_ten(settings: Any, folder: Path) -> Task:
    return Task(lambda: range(10), len)


def missing_package(settings: Any, folder: Path) -> Task:
    raise ModuleNotFoundError("No module named 'rival'", name="rival")


def failing_run(settings: Any, folder: Path) -> Task:
    return Task(lambda: 1 / 0)
