"""What a generator that is told classes has to remember: how common each is."""

from __future__ import annotations

import numpy as np

from ..common.core.pool import Pool


def shares_of(pool: Pool, *, classes: int = 0) -> np.ndarray | None:
    """Share of each class among the rows, float64 [classes]; None for a pool without labels.

    There are as many classes as were ever known (`classes`), so one that vanished keeps its place and a share of 0.
    """
    if "label" not in pool:
        return None
    counts = np.bincount(pool.array("label"), minlength=classes)
    return counts / counts.sum()


def one_hot(labels: np.ndarray | None, *, rows: int, classes: int) -> np.ndarray:
    """float32 [rows, classes]; no columns where there are no classes."""
    if labels is None:
        return np.zeros((rows, 0), dtype=np.float32)
    return np.eye(classes, dtype=np.float32)[labels]


def labelled(images: np.ndarray, labels: np.ndarray | None) -> Pool:
    """A pool of images, with their labels if they have any."""
    return Pool.of(image=images) if labels is None else Pool.of(image=images, label=labels.astype(np.int64))
