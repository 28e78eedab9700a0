"""A curation for images that removes near-duplicates by pixel distance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from ..common.components.curation import CurationResult
from ..common.components.metric import MetricInputs
from ..common.core.pool import Pool


@dataclass(frozen=True)
class PixelDedup:
    """Drops near-duplicate images. An image is dropped if its distance to an earlier kept image is at most `distance`."""

    distance: Annotated[float, Field(gt=0)] = 16.0
    """Distance limit: root mean squared difference over pixels, in grey levels (0 to 255)."""
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[str, ...]] = ("image",)

    def expected_keep_rate(self, *, synthetic_fraction: float) -> float:
        return 1.0

    def __call__(self, candidates: Pool, inputs: MetricInputs, *, rng: np.random.Generator) -> CurationResult:
        from scipy.spatial import cKDTree

        pixels = candidates.array("image").reshape(len(candidates), -1).astype(np.float64)
        keep = np.ones(len(pixels), dtype=bool)
        neighbours = cKDTree(pixels).query_ball_point(pixels, self.distance * np.sqrt(pixels.shape[1]))
        for row, near in enumerate(neighbours):
            if keep[row]:
                keep[[other for other in near if other > row]] = False
        return CurationResult(np.flatnonzero(keep))
