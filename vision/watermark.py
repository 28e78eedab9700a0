"""A keyed noise pattern as a watermark for images, after spread-spectrum watermarking (Cox et al. 1997)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from pydantic import Field
from scipy.fft import dctn, idctn

from ..common.core.random_streams import stream


@dataclass(frozen=True)
class Pattern:
    """Every cosine coefficient of an image but the lowest is moved by `strength` grey levels, up or down as the key says.

    The test asks how well the signs of an image's coefficients agree with the key's: z = sum(s c) / sqrt(sum(c^2)) has mean 0
    and variance 1 over keys for any image that was made without the key. For one key and images of one kind it may not: the
    detector's false positives are measured, never assumed. Small images hold little: with 8 x 8 pixels z cannot pass 7.4.
    """

    strength: Annotated[float, Field(gt=0)] = 24.0
    key: Annotated[int, Field(ge=0)] = 0

    def mark(self, images: np.ndarray) -> np.ndarray:
        """uint8 [n, h, w, c] with the pattern added, rounded and clipped."""
        noise = idctn(self.strength * self._signs(images.shape[1:]), axes=(0, 1), norm="ortho")
        return np.clip(np.round(images + noise), 0, 255).astype(np.uint8)

    def z(self, images: np.ndarray) -> np.ndarray:
        """How well each image agrees with the key, float64 [n]; 0 for an image without any detail."""
        signs = self._signs(images.shape[1:])
        detail = dctn(images.astype(np.float64), axes=(1, 2), norm="ortho") * (signs != 0)
        norm = np.sqrt((detail**2).sum((1, 2, 3)))
        return np.divide((detail * signs).sum((1, 2, 3)), norm, out=np.zeros(len(images)), where=norm > 1e-6)

    def _signs(self, shape: Sequence[int]) -> np.ndarray:
        """-1, 0 or 1 for every coefficient, float64 [h, w, c]; 0 for the lowest frequencies, where images keep their contents."""
        height, width, _ = shape
        frequency = np.add.outer(np.arange(height), np.arange(width))[..., None]
        return stream(self.key, "pattern").choice([-1.0, 1.0], size=shape) * (frequency >= (height + width) / 4)


def marked(images: np.ndarray, watermark: Pattern | None) -> np.ndarray:
    """Images with a watermark, if there is one."""
    return images if watermark is None else watermark.mark(images)
