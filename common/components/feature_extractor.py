"""The contract of a feature model: a fixed encoder that maps rows to vectors, in which metrics compare pools."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from ..core.pool import Pool


class FeatureExtractor(Protocol):
    """A fixed feature model. A dataclass whose fields are its settings.

    It is fitted (if it learns anything) once per experiment, on real rows only. All generations share it.
    """

    version: ClassVar[int]
    """Part of every cache key. Increase it when a change of the code changes the features."""

    def fit(self, pool: Pool, *, seed: int, scratch: Path) -> None:
        """Learn from real rows. `scratch`: a folder for checkpoints of the fit."""
        ...

    def save(self, folder: Path) -> None:
        """Write what was learned, without pickle and without time stamps."""
        ...

    def load(self, folder: Path) -> None:
        """Read what `save` wrote."""
        ...

    def __call__(self, pool: Pool) -> Mapping[str, np.ndarray]:
        """`features` float32 [n, d] of n rows, and optional further arrays (a classifier adds `probabilities` [n, classes]).

        The features of a row must not depend on the other rows.
        """
        ...
