"""Between uint8 images and the numbers models work on."""

from __future__ import annotations

import numpy as np

from ..common.core.errors import UserError


def to_unit(images: np.ndarray) -> np.ndarray:
    """uint8 0 ... 255 to float32 -1 ... 1."""
    return images.astype(np.float32) / 127.5 - 1


def from_unit(x: np.ndarray) -> np.ndarray:
    """float -1 ... 1 to uint8, the nearest grey level; what lies outside is clipped. UserError for what is no number."""
    if np.isnan(x).any():
        raise UserError("the model gives pixels that are not numbers; it has diverged, and a lower learning_rate may help")
    return np.clip(np.round((x + 1) * 127.5), 0, 255).astype(np.uint8)
