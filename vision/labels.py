"""Functions for class labels of images: class shares, one-hot encoding and random labels."""

from __future__ import annotations

import numpy as np

from ..common.core.pool import Pool


def shares_of(pool: Pool, *, classes: int = 0) -> np.ndarray | None:
    """Compute the share of rows in each class, float64 [classes]. Returns None for a pool without labels.

    `classes` is the minimum length of the result. A class without rows then has a share of 0 instead of a missing entry.
    """
    if "label" not in pool:
        return None
    counts = np.bincount(pool.array("label"), minlength=classes)
    return counts / counts.sum()


def fitted_shares(pool: Pool, *, classes: int, previous: np.ndarray | None) -> np.ndarray | None:
    """Compute the class shares that a generator learns from a pool. Classes of the `previous` fit without rows get a share of 0."""
    return shares_of(pool, classes=max(classes, count_of(previous)))


def count_of(shares: np.ndarray | None) -> int:
    """Return the number of classes, or 0 if the generator learned no labels."""
    return 0 if shares is None else len(shares)


def draw_labels(shares: np.ndarray | None, *, rows: int, rng: np.random.Generator) -> np.ndarray | None:
    """Draw labels from class shares, int64 [rows]. If `shares` is None, returns None and draws no random numbers."""
    return None if shares is None else rng.choice(len(shares), size=rows, p=shares)


def one_hot(labels: np.ndarray | None, *, rows: int, classes: int) -> np.ndarray:
    """Encode labels as one-hot rows, float32 [rows, classes]. If `labels` is None, the result has the shape [rows, 0]."""
    if labels is None:
        return np.zeros((rows, 0), dtype=np.float32)
    return np.eye(classes, dtype=np.float32)[labels]


def shares_to_json(shares: np.ndarray | None) -> list[float] | None:
    """Convert class shares to a JSON value."""
    return None if shares is None else shares.tolist()


def shares_from_json(shares: list[float] | None) -> np.ndarray | None:
    """Convert the JSON value of `shares_to_json` back to class shares."""
    return None if shares is None else np.array(shares)
