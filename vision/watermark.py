"""A keyed noise pattern as a watermark for images, after spread-spectrum watermarking (Cox et al. 1997)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field

from ..common.core.pool import Pool
from ..common.core.random_streams import stream


@dataclass(frozen=True)
class Pattern:
    """Settings of the watermark. It moves each cosine coefficient of an image by `strength` grey levels; the key fixes the signs s.

    The coefficients of the lowest frequencies are left alone. The test compares the signs of an image's coefficients c with those of
    the key: z = sum(s c) / sqrt(sum(c^2)). For an image without the watermark, z has mean 0 and variance 1 over random keys. For one
    key and similar images it may have another distribution, so the false-positive rate is measured and not computed from z.

    Small images have few coefficients: with 8 x 8 pixels z cannot exceed 7.4.
    """

    strength: Annotated[float, Field(gt=0)] = 24.0
    """Shift of each coefficient, in grey levels (0 to 255)."""
    key: Annotated[int, Field(ge=0)] = 0

    def mark(self, images: np.ndarray) -> np.ndarray:
        """The images uint8 [n, h, w, c] with the pattern added, rounded and clipped."""
        from scipy.fft import idctn

        noise = idctn(self.strength * self._signs(images.shape[1:]), axes=(0, 1), norm="ortho")
        return np.clip(np.round(images + noise), 0, 255).astype(np.uint8)

    def z_scores(self, images: np.ndarray) -> np.ndarray:
        """z of each image, float64 [n]. 0 for an image without detail."""
        from scipy.fft import dctn

        signs = self._signs(images.shape[1:])
        detail = dctn(images.astype(np.float64), axes=(1, 2), norm="ortho") * (signs != 0)
        norm = np.sqrt((detail**2).sum((1, 2, 3)))
        return np.divide((detail * signs).sum((1, 2, 3)), norm, out=np.zeros(len(images)), where=norm > 1e-6)

    def _signs(self, shape: Sequence[int]) -> np.ndarray:
        """The sign of each coefficient, -1 or 1, float64 [h, w, c]. 0 for the low frequencies, which carry the content of an image."""
        height, width, _ = shape
        frequency = np.add.outer(np.arange(height), np.arange(width))[..., None]
        return stream(self.key, "pattern").choice([-1.0, 1.0], size=shape) * (frequency >= (height + width) / 4)


def detect_pattern(pool: Pool, watermark: Pattern | None) -> np.ndarray:
    """z-score of each image for a watermark, float64 [n]. Raises ValueError if there is no watermark."""
    if watermark is None:
        raise ValueError("sampling.watermark is not set, so there is no watermark to detect")
    return watermark.z_scores(pool.array("image"))
