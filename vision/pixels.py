"""Conversion between uint8 images and the float arrays that models use."""

from __future__ import annotations

import numpy as np

from ..common.core.errors import UserError
from ..common.core.pool import Pool


def to_unit(images: np.ndarray) -> np.ndarray:
    """Map uint8 grey levels 0 to 255 to float32 in [-1, 1]."""
    return images.astype(np.float32) / 127.5 - 1


def from_unit(x: np.ndarray) -> np.ndarray:
    """Map floats in [-1, 1] to the nearest uint8 grey level, 0 to 255. Values outside [-1, 1] are clipped.

    Raises UserError if a value is NaN.
    """
    if np.isnan(x).any():
        raise UserError("the model generates pixels that are NaN: its training has diverged. Try a lower learning_rate.")
    return np.clip(np.round((x + 1) * 127.5), 0, 255).astype(np.uint8)


def flat_grey_levels(pool: Pool) -> np.ndarray:
    """Return the images as rows of pixels, float64 [n, h * w * c], with grey levels in [0, 1]."""
    return pool.array("image").reshape(len(pool), -1).astype(np.float64) / 255
