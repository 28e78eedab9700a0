"""The contract of a data set, and how one pool of real rows is dealt into splits that never overlap."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol

from .errors import UserError
from .pool import Pool
from .seeds import stream


class Data(Protocol):
    """Real rows. A dataclass; its fields say what to load.

    `load` gives the splits `train` (the real pool and the reserve come from it), `heldout` and `control` (`eval_size`
    rows each, never trained on; control against held-out gives the floor of every metric), and, where a base model can be
    pretrained, `base`. All rows carry the note `_generation` = -1.
    """

    version: ClassVar[int]
    modality: ClassVar[str]

    def load(self, *, eval_size: int) -> Mapping[str, Pool]: ...


def deal(pool: Pool, *, eval_size: int, where: str) -> Mapping[str, Pool]:
    """Split one pool into train, heldout and control, at random but always the same way. UserError if it is too small."""
    if len(pool) < 2 * eval_size + 1:
        raise UserError(f"{where}: has {len(pool)} rows; eval_size = {eval_size} alone takes {2 * eval_size} (held-out and control)")
    order = stream(0, "split").permutation(len(pool))
    return {
        "heldout": pool.take(order[:eval_size]),
        "control": pool.take(order[eval_size : 2 * eval_size]),
        "train": pool.take(order[2 * eval_size :]),
    }
