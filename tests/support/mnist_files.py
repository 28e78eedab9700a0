"""Writes data files in the original MNIST format."""

from __future__ import annotations

import gzip
import struct

import numpy as np


def write_mnist(folder, rows=30):
    """Write random images and labels to `folder` in the layout of torchvision: unpacked files and the gzipped files that it checks for."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for prefix in ("train", "t10k"):
        images, labels = rng.integers(0, 256, (rows, 28, 28), dtype=np.uint8), rng.integers(0, 10, rows, dtype=np.uint8)
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, rows, 28, 28) + images.tobytes())
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, rows) + labels.tobytes())
        (raw / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(b""))
