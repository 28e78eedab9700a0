"""Curations for tests of the loop: one checks its input, and one keeps known rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from autophagy.common.components.curation import CurationResult


@dataclass(frozen=True)
class AssertsDataColumnsOnly:
    """Keeps all rows. Fails if the candidates have another column than the data column `x`, such as their origin."""

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ()

    def expected_keep_rate(self, *, synthetic_fraction):
        return 1.0

    def __call__(self, candidates, inputs, *, rng):
        assert candidates.table.column_names == ["x"], candidates.table.column_names
        return CurationResult(np.arange(len(candidates)))


@dataclass(frozen=True)
class KeepFirst:
    """Keeps the first `keep` share of the candidates, so that a test knows exactly which rows are kept."""

    keep: float
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ()

    def expected_keep_rate(self, *, synthetic_fraction):
        return self.keep

    def __call__(self, candidates, inputs, *, rng):
        return CurationResult(np.arange(round(self.keep * len(candidates))))
