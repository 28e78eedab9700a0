"""The contract of a data set, how one pool of real rows is dealt into splits that never overlap, and how it gets a long tail."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, Protocol

import numpy as np
from pydantic import Field

from ..core.errors import UserError
from ..core.pool import Pool
from ..core.random_streams import stream


class Data(Protocol):
    """Real rows. A dataclass; its fields say what to load.

    `load` gives the splits `train` (the real pool and the reserve come from it), `heldout` and `control` (`eval_size`
    rows each, never trained on; control against held-out gives the floor of every metric), and, where a base model can be
    pretrained, `base`. All rows carry the note `_generation` = -1.
    """

    version: ClassVar[int]
    modality: ClassVar[str]

    def load(self, *, eval_size: int) -> Mapping[str, Pool]: ...


def split_pool(pool: Pool, *, eval_size: int, where: str) -> Mapping[str, Pool]:
    """Split one pool into train, heldout and control, at random but always the same way. UserError if it is too small."""
    if len(pool) < 2 * eval_size + 1:
        raise UserError(f"{where}: has {len(pool)} rows; eval_size = {eval_size} alone takes {2 * eval_size} (held-out and control)")
    order = stream(0, "split").permutation(len(pool))
    return {
        "heldout": pool.take(order[:eval_size]),
        "control": pool.take(order[eval_size : 2 * eval_size]),
        "train": pool.take(order[2 * eval_size :]),
    }


@dataclass(frozen=True)
class ClassImbalance:
    """How a long tail is cut from labelled data: the commonest class has `ratio` times the rows of the rarest.

    `exponential`: n_c = n_0 * ratio^(-c / (C - 1)) for class c of C (Cui et al. 2019, sec. 5); `zipf`: n_c = n_0 * (c + 1)^-s
    with the s that gives the ratio. Classes keep their order: label 0 is the commonest.
    """

    ratio: Annotated[float, Field(ge=1, le=1e6)]
    shape: Literal["exponential", "zipf"] = "exponential"

    def shares(self, classes: int) -> np.ndarray:
        """Rows of each class as a share of the first one's; float64 [classes]."""
        rank = np.arange(classes)
        if classes == 1:
            return np.ones(1)
        if self.shape == "exponential":
            return self.ratio ** (-rank / (classes - 1))
        return (rank + 1.0) ** (-np.log(self.ratio) / np.log(classes))


def long_tailed(pool: Pool, imbalance: ClassImbalance) -> Pool:
    """As many rows as there are with the class shares of an imbalance, drawn at random but always the same; UserError without labels."""
    if "label" not in pool:
        raise UserError("imbalance: this data has no labels, so it cannot be made long-tailed")
    labels = pool.array("label")
    classes, counts = np.unique(labels, return_counts=True)
    shares = imbalance.shares(len(classes))
    wanted = np.floor((counts / shares).min() * shares + 1e-9).astype(int)
    if wanted.min() < 1:
        raise UserError(f"imbalance: with a ratio of {imbalance.ratio:g}, class {classes[-1]} would have no row of the {len(pool)}")
    rng = stream(0, "imbalance")
    chosen = [rng.permutation(np.flatnonzero(labels == name))[:count] for name, count in zip(classes, wanted, strict=True)]
    return pool.take(np.sort(np.concatenate(chosen)))


def tailed(splits: Mapping[str, Pool], imbalance: ClassImbalance, *, eval_size: int) -> Mapping[str, Pool]:
    """Splits dealt anew from a long-tailed part of the data. The feature model learns from all real rows but the measured ones:
    a yardstick for rare classes must have seen them."""
    pool = Pool.concat([splits["train"], splits["heldout"], splits["control"]])
    pool = pool.note(row=np.arange(len(pool)))
    found = dict(split_pool(long_tailed(pool, imbalance), eval_size=eval_size, where="imbalance"))
    measured = np.concatenate([found[name].array("_row") for name in ("heldout", "control")])
    found["features"] = pool.take(np.setdiff1d(np.arange(len(pool)), measured))
    return {name: split.without("row") for name, split in found.items()}
