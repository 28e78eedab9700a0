"""A feature model with a setting that changes its output but not its fit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from autophagy.vision.features import Pixels


@dataclass
class ScaledPixels(Pixels):
    """Pixels multiplied by `scale`."""

    scale: float
    version: ClassVar[int] = 1

    def __call__(self, pool):
        return {"features": self.scale * super().__call__(pool)["features"]}
