"""The contract of a data set, and the split of one pool of real rows into disjoint train, held-out and control splits."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Protocol

from ..core.errors import UserError
from ..core.pool import Pool
from ..core.random_streams import stream


class Data(Protocol):
    """A source of real rows. A dataclass whose fields are its settings."""

    version: ClassVar[int]
    """Part of every cache key. Increase it when a change of the code changes the rows."""
    modality: ClassVar[str]
    """`analytic`, `text` or `vision`."""

    def load(self, *, eval_size: int) -> Mapping[str, Pool]:
        """Return the splits `train`, `heldout` and `control`, and `base` if a base model can be pretrained on this data.

        The real training pool and the reserve of unseen rows are taken from `train`. `heldout` and `control` have `eval_size`
        rows each and are never trained on; metrics between the two give the floors. All splits have the same columns.
        """
        ...


def split_pool(pool: Pool, *, eval_size: int, where: str) -> Mapping[str, Pool]:
    """Split one pool into disjoint `heldout`, `control` (`eval_size` rows each) and `train` (the rest).

    The split is random but always the same. Raises UserError, starting with `where`, if `train` would be empty.
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
