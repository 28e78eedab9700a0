"""The contract of a data set, and a function that splits one pool into disjoint train, held-out and control splits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol

from ..core.errors import UserError
from ..core.pool import Pool
from ..core.random_streams import stream


class Data(Protocol):
    """A source of real rows. Implementations are dataclasses whose fields are their settings."""

    version: ClassVar[int]
    """Version of the code, part of the cache key. Increase it if a change of the code changes the rows."""
    modality: ClassVar[str]
    """`analytic`, `text` or `vision`."""

    def load(self, *, eval_size: int) -> Mapping[str, Pool]:
        """Return the splits `train`, `heldout` and `control`, and optionally `base`, the training data of base models.

        The real training pool and the reserve (unseen rows) are taken from `train`. `heldout` and `control` have `eval_size` rows
        each and are never used for training. A floor is the value of a metric between these two. All splits have the same columns.
        """
        ...


def split_pool(pool: Pool, *, eval_size: int, where: str) -> Mapping[str, Pool]:
    """Split one pool into disjoint `heldout` and `control` splits of `eval_size` rows each and `train`, the remaining rows.

    The split is random with a fixed seed. Raises UserError, starting with `where`, if `train` would be empty.
    """
    if len(pool) < 2 * eval_size + 1:
        raise UserError(
            f"{where}: has {len(pool)} rows; eval_size = {eval_size} alone takes {2 * eval_size} (held-out and control); decrease eval_size"
        )
    order = stream(0, "split").permutation(len(pool))
    return {
        "heldout": pool.take(order[:eval_size]),
        "control": pool.take(order[eval_size : 2 * eval_size]),
        "train": pool.take(order[2 * eval_size :]),
    }
