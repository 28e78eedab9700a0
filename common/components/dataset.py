"""The contract of a data set, and a function that splits one pool into disjoint train, held-out and control splits."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

from ..core.errors import UserError
from ..core.pool import Pool
from ..core.random_streams import stream
from ..core.threads import Progress, ignore_items


class Data(Protocol):
    """A source of real rows. Implementations are dataclasses whose fields are their settings.

    Optional members: the methods of `ReadsFiles`.
    """

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


@runtime_checkable
class ReadsFiles(Protocol):
    """Optional ability of data sets whose rows are computed from local files. The loop keeps the splits as an artifact of the store.

    The cache key contains the settings, `eval_size`, and the names and contents of the files. So a later run reads the artifact instead
    of the files, and a changed, added or removed file gives a new artifact.
    """

    def source_files(self) -> Mapping[str, Path]:
        """Return the paths of all files that `load` reads, by a name that does not depend on the location, such as a relative path.

        If there are none, `load` is called at each start. It should then raise a UserError if files are missing.
        """
        ...

    def load(self, *, eval_size: int, progress: Progress = ignore_items) -> Mapping[str, Pool]:
        """Like `Data.load`. Calls `progress(files read so far, number of files)` in the calling thread."""
        ...


def source_files_of(data: Data | ReadsFiles) -> Mapping[str, Path]:
    """Return the files that a data set reads, by name. Default: an empty mapping."""
    return data.source_files() if isinstance(data, ReadsFiles) else {}


def load_splits(data: Data | ReadsFiles, *, eval_size: int, progress: Progress = ignore_items) -> dict[str, Pool]:
    """Return the splits of a data set. `progress` is called only if the data set reads files."""
    if isinstance(data, ReadsFiles):
        return dict(data.load(eval_size=eval_size, progress=progress))
    return dict(data.load(eval_size=eval_size))


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
