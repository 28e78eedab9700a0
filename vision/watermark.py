"""A watermark for images: a keyed noise pattern, based on spread-spectrum watermarking (Cox et al. 1997)."""

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
    """Settings of the watermark. It shifts each cosine coefficient of an image by `strength` grey levels; the key sets the signs s.

    The lowest frequencies are not changed. The detector compares the coefficients c of an image with the signs s of the key:
    z = sum(s c) / sqrt(sum(c^2)). For an image without the watermark, z has mean 0 and variance 1 over random keys. For one key and
    similar images, z may have another distribution. Therefore the false-positive rate is measured and not computed from z.

    Small images have few coefficients, which limits z. For 8 x 8 pixels, z is at most 7.4.
    """

    strength: Annotated[float, Field(gt=0)] = 24.0
    """Shift of each coefficient, in grey levels (0 to 255)."""
    key: Annotated[int, Field(ge=0)] = 0

    def mark(self, images: np.ndarray) -> np.ndarray:
        """Add the pattern to images, uint8 [n, h, w, c]. Results are rounded and clipped to 0 to 255."""
        from scipy.fft import idctn

        noise = idctn(self.strength * self._signs(images.shape[1:]), axes=(0, 1), norm="ortho")
        return np.clip(np.round(images + noise), 0, 255).astype(np.uint8)

    def z_scores(self, images: np.ndarray) -> np.ndarray:
        """Compute z for each image, float64 [n]. An image without high frequencies has z = 0."""
        from scipy.fft import dctn

        signs = self._signs(images.shape[1:])
        detail = dctn(images.astype(np.float64), axes=(1, 2), norm="ortho") * (signs != 0)
        norm = np.sqrt((detail**2).sum((1, 2, 3)))
        return np.divide((detail * signs).sum((1, 2, 3)), norm, out=np.zeros(len(images)), where=norm > 1e-6)

    def _signs(self, shape: Sequence[int]) -> np.ndarray:
        """Return the sign of each coefficient, float64 [h, w, c]: -1 or 1, or 0 for low frequencies, which carry the image content."""
        height, width, _ = shape
        frequency = np.add.outer(np.arange(height), np.arange(width))[..., None]
        return stream(self.key, "pattern").choice([-1.0, 1.0], size=shape) * (frequency >= (height + width) / 4)


def detect_pattern(pool: Pool, watermark: Pattern | None) -> np.ndarray:
    """Return the z-score of each image for a watermark, float64 [n]. Raises ValueError if `watermark` is None."""
    if watermark is None:
        raise ValueError("sampling.watermark is not set, so there is no watermark to detect")
    return watermark.z_scores(pool.array("image"))
