"""Sampling code that the image generators share: divides samples into chunks and adds the watermark.

The rounding of matrix products and convolutions depends on the number of images in a batch. So the chunk that computes an image must
not depend on the number of images that are asked for, or neither would the image.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from ..common.core.pool import Pool
from ..common.core.random_streams import stream
from .watermark import Pattern

Draw = Callable[[np.random.Generator], tuple[np.ndarray, np.ndarray | None]]
"""Function that draws one chunk. Returns images, uint8 [size, h, w, c], and labels, int64 [size] or None."""


def sample_in_chunks(draw: Draw, n: int, *, size: int, seed: int, watermark: Pattern | None) -> Pool:
    """Draw n images and return them as a pool, with labels if `draw` returns labels.

    Every chunk has `size` images and its own random stream. Surplus images of the last chunk are dropped. Therefore an image does not
    depend on n: its random numbers are the same for every n, and so is the rounding.
    """
    chunks = [draw(stream(seed, "chunk", start)) for start in range(0, n, size)]
    labels = [labels for _, labels in chunks if labels is not None]
    return pool_of([images for images, _ in chunks], np.concatenate(labels) if labels else None, n=n, watermark=watermark)


def pool_of(chunks: list[np.ndarray], labels: np.ndarray | None, *, n: int, watermark: Pattern | None) -> Pool:
    """Join chunks to a pool of n images, with the watermark and the labels, if any. Surplus images and labels are dropped."""
    images = np.concatenate(chunks)[:n]
    columns = {"image": images if watermark is None else watermark.mark(images)}
    if labels is not None:
        columns["label"] = labels[:n].astype(np.int64)
    return Pool.of(**columns)


def growing_chunks(n: int, *, smallest: int, largest: int) -> Iterator[range]:
    """Divide at least n rows into chunks: `smallest` rows, again `smallest`, then twice as many each time, up to `largest`.

    The chunk of a row depends only on the number of the row. A few rows cost little, and many rows fill a GPU.
    """
    start = 0
    while start < n:
        end = start + min(largest, max(smallest, start))
        yield range(start, end)
        start = end
