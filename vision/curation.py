"""A curation that needs to know images: near-duplicates by their pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from scipy.spatial import cKDTree

from ..common.components.curation import CurationResult
from ..common.components.metric import MetricInputs
from ..common.core.pool import Pool


@dataclass(frozen=True)
class PixelDedup:
    """Drops images nearer than `distance` grey levels (0 to 255, root mean square over pixels) to an earlier one that was kept."""

    distance: Annotated[float, Field(gt=0)] = 16.0
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[str, ...]] = ("image",)

    def expected_keep_rate(self, *, synthetic_fraction: float) -> float:
        return 1.0

    def __call__(self, candidates: Pool, inputs: MetricInputs, *, rng: np.random.Generator) -> CurationResult:
        x = candidates.array("image").reshape(len(candidates), -1).astype(np.float64)
        kept = np.ones(len(x), dtype=bool)
        for row, near in enumerate(cKDTree(x).query_ball_point(x, self.distance * np.sqrt(x.shape[1]))):
            if kept[row]:
                kept[[other for other in near if other > row]] = False
        return CurationResult(np.flatnonzero(kept))
