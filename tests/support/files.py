"""Data files in the formats that people download."""

from __future__ import annotations

import gzip
import struct

import numpy as np


def write_mnist(folder, n=30):
    """A made-up MNIST in the original format, gzipped as it is served and unpacked as torchvision keeps it."""
    raw = folder / "MNIST" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for prefix in ("train", "t10k"):
        images, labels = rng.integers(0, 256, (n, 28, 28), dtype=np.uint8), rng.integers(0, 10, n, dtype=np.uint8)
        (raw / f"{prefix}-images-idx3-ubyte").write_bytes(struct.pack(">IIII", 2051, n, 28, 28) + images.tobytes())
        (raw / f"{prefix}-labels-idx1-ubyte").write_bytes(struct.pack(">II", 2049, n) + labels.tobytes())
        (raw / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(b""))
