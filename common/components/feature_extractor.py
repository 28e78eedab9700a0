"""The contract of a feature model, a fixed encoder that maps rows to vectors. Metrics compare pools by these vectors."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np

from ..core.pool import Pool


class FeatureExtractor(Protocol):
    """A feature model: a fixed encoder. Implementations are dataclasses whose fields are their settings.

    `fit` is called once per experiment, with real rows only. All generations use the same fitted feature model.
    """

    version: ClassVar[int]
    """Version of the code, part of the cache key. Increase it if a change of the code changes the features."""

    def fit(self, pool: Pool, *, seed: int, scratch: Path) -> None:
        """Learn from real rows. `scratch` is a folder for checkpoints of the fit."""
        ...

    def save(self, folder: Path) -> None:
        """Write everything that `fit` learned, without pickle and without time stamps."""
        ...

    def load(self, folder: Path) -> None:
        """Load the files that `save` wrote."""
        ...

    def __call__(self, pool: Pool) -> Mapping[str, np.ndarray]:
        """Compute the features of n rows. Returns `features`, float32 [n, d], and optionally further arrays.

        A classifier, for example, also returns `probabilities` [n, classes]. The features of a row must not depend on other rows.
        """
        ...
