"""Long-tailed data: removes labelled real rows so that some classes become rare (config key `imbalance`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from pydantic import Field

from ..core.errors import UserError
from ..core.pool import Pool
from ..core.random_streams import stream
from .dataset import split_pool


@dataclass(frozen=True)
class ClassImbalance:
    """Class sizes of long-tailed data. The most common class has `ratio` times as many rows as the rarest class.

    For class c of C classes, `exponential` uses n_c = n_0 * ratio^(-c / (C - 1)) (Cui et al. 2019, sec. 5). `zipf` uses
    n_c = n_0 * (c + 1)^-s; the ratio determines s. Classes keep their order, so label 0 is the most common class.
    """

    ratio: Annotated[float, Field(ge=1, le=1e6)]
    shape: Literal["exponential", "zipf"] = "exponential"

    def shares(self, classes: int) -> np.ndarray:
        """Compute the size of each class relative to class 0. Returns float64 [classes]."""
        rank = np.arange(classes)
        if classes == 1:
            return np.ones(1)
        if self.shape == "exponential":
            return np.asarray(self.ratio ** (-rank / (classes - 1)))
        return np.asarray((rank + 1.0) ** (-np.log(self.ratio) / np.log(classes)))


def long_tailed(pool: Pool, imbalance: ClassImbalance) -> Pool:
    """Return the largest subset of a pool that has the relative class sizes of `imbalance`.

    The selection is random with a fixed seed. Raises UserError if the pool has no labels or a class would be empty.
    """
    if "label" not in pool:
        raise UserError("imbalance: this data has no labels, so it cannot be made long-tailed; remove `imbalance`")
    labels = pool.array("label")
    classes, counts = np.unique(labels, return_counts=True)
    shares = imbalance.shares(len(classes))
    sizes = np.floor((counts / shares).min() * shares + 1e-9).astype(int)
    if sizes.min() < 1:
        raise UserError(
            f"imbalance: with a ratio of {imbalance.ratio:g}, class {classes[-1]} would have 0 of {len(pool)} rows; decrease the ratio"
        )
    rng = stream(0, "imbalance")
    chosen = [rng.permutation(np.flatnonzero(labels == label))[:size] for label, size in zip(classes, sizes, strict=True)]
    return pool.take(np.sort(np.concatenate(chosen)))


def long_tailed_splits(splits: Mapping[str, Pool], imbalance: ClassImbalance, *, eval_size: int) -> Mapping[str, Pool]:
    """Make long-tailed splits `train`, `heldout` and `control`, and the split `features` for the feature model.

    `features` contains all real rows except those in `heldout` and `control`. It is not long-tailed, because a feature model
    must have seen enough rows of a rare class to measure it.
    """
    pool = Pool.concat([splits["train"], splits["heldout"], splits["control"]])
    pool = pool.note(row=np.arange(len(pool)))
    result = dict(split_pool(long_tailed(pool, imbalance), eval_size=eval_size, where="imbalance"))
    evaluation_rows = np.concatenate([result[name].array("_row") for name in ("heldout", "control")])
    result["features"] = pool.take(np.setdiff1d(np.arange(len(pool)), evaluation_rows))
    return {name: split.without("row") for name, split in result.items()}
