"""Runs a function on many items in parallel threads, for work that releases Python's global lock, such as decoding and hashing files."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from .resources import processors

T = TypeVar("T")
R = TypeVar("R")
Progress = Callable[[int, int], None]
"""A callback that gets the number of finished items and the number of all items."""

ITEMS_PER_TASK = 4
"""Items that a thread processes before it reports. Larger tasks delay Ctrl-C."""


def ignore_items(done: int, total: int) -> None:
    """A progress callback that does nothing."""


def map_in_threads(work: Callable[[T], R], items: Sequence[T], *, progress: Progress = ignore_items) -> list[R]:
    """Return `[work(item) for item in items]`, computed by as many threads as there are processors.

    `progress` is called in the calling thread. After an exception or Ctrl-C, no further item is started.
    """
    tasks = [items[start : start + ITEMS_PER_TASK] for start in range(0, len(items), ITEMS_PER_TASK)]
    results: list[R] = []
    pool = ThreadPoolExecutor(processors())
    try:
        for part in pool.map(lambda task: [work(item) for item in task], tasks):
            results += part
            progress(len(results), len(items))
    finally:
        pool.shutdown(cancel_futures=True)
    return results
