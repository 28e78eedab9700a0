"""Class labels of images: class shares, one-hot codes and drawing labels."""

from __future__ import annotations

import numpy as np

from ..common.core.pool import Pool


def shares_of(pool: Pool, *, classes: int = 0) -> np.ndarray | None:
    """The share of each class among the rows, float64 [classes]. None for a pool without labels.

    `classes` is the smallest length of the result, so that a class that vanished keeps its place, with a share of 0.
    """
    if "label" not in pool:
        return None
    counts = np.bincount(pool.array("label"), minlength=classes)
    return counts / counts.sum()


def fitted_shares(pool: Pool, *, classes: int, previous: np.ndarray | None) -> np.ndarray | None:
    """The class shares that a generator learns from a pool: `shares_of`, with at least as many classes as `previous` has."""
    return shares_of(pool, classes=max(classes, count_of(previous)))


def count_of(shares: np.ndarray | None) -> int:
    """The number of classes. 0 if the generator learned no labels."""
    return 0 if shares is None else len(shares)


def draw_labels(shares: np.ndarray | None, *, rows: int, rng: np.random.Generator) -> np.ndarray | None:
    """Labels drawn from class shares, int64 [rows]. None, without a random draw, if there are no classes."""
    return None if shares is None else rng.choice(len(shares), size=rows, p=shares)


def one_hot(labels: np.ndarray | None, *, rows: int, classes: int) -> np.ndarray:
    """Labels as float32 [rows, classes]. Without labels the result has no columns."""
    if labels is None:
        return np.zeros((rows, 0), dtype=np.float32)
    return np.eye(classes, dtype=np.float32)[labels]


def shares_to_json(shares: np.ndarray | None) -> list[float] | None:
    """Class shares as JSON."""
    return None if shares is None else shares.tolist()


def shares_from_json(shares: list[float] | None) -> np.ndarray | None:
    """Class shares from the JSON of `shares_to_json`."""
    return None if shares is None else np.array(shares)
