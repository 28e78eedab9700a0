"""Sampling code that all image generators share: draws images in chunks of constant size and adds the watermark."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..common.core.pool import Pool
from ..common.core.random_streams import stream
from .watermark import Pattern

Draw = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray | None]]
"""Function that draws one chunk. Returns images, uint8 [size, h, w, c], and labels, int64 [size] or None."""


def sample_in_chunks(draw: Draw, n: int, *, size: int, seed: int, watermark: Pattern | None) -> Pool:
    """Draw n images and return them as a pool, with labels if `draw` returns labels.

    Every chunk has `size` images and its own random stream. Surplus images of the last chunk are dropped. Therefore an image does not
    depend on n: its random numbers are the same for every n, and so is the rounding of matrix products, which depends on the batch shape.
    """
    chunks = [draw(stream(seed, "chunk", start)) for start in range(0, n, size)]
    images = np.concatenate([images for images, _ in chunks])[:n]
    columns = {"image": images if watermark is None else watermark.mark(images)}
    labels = [labels for _, labels in chunks if labels is not None]
    if labels:
        columns["label"] = np.concatenate(labels)[:n].astype(np.int64)
    return Pool.of(**columns)
