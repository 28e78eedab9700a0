"""A feature model whose setting acts only when it is called."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from autophagy.vision.features import Pixels


@dataclass
class Scaled(Pixels):
    scale: float
    version: ClassVar[int] = 1

    def __call__(self, pool):
        return {"features": self.scale * super().__call__(pool)["features"]}
