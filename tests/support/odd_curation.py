"""Curations that no user would write: one looks for what it must not know, one does not choose."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from autophagy.common.components.curation import CurationResult


@dataclass(frozen=True)
class Spy:
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ()

    def share(self, *, synthetic_fraction):
        return 1.0

    def __call__(self, candidates, inputs, *, rng):
        assert candidates.table.column_names == ["x"], candidates.table.column_names
        return CurationResult(np.arange(len(candidates)))


@dataclass(frozen=True)
class First:
    """Keeps the first rows."""

    keep: float
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ()

    def share(self, *, synthetic_fraction):
        return self.keep

    def __call__(self, candidates, inputs, *, rng):
        return CurationResult(np.arange(round(self.keep * len(candidates))))
