"""Named random streams. All random numbers of the package come from `stream(seed, *path)`.

The numbers of `stream(3, "fit", 5)` do not depend on earlier draws. Therefore interrupting, resuming, reordering or
parallelising a chain does not change its results.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np


def derive(seed: int, *path: str | int) -> int:
    """Derive the 63-bit seed of the stream `path` of `seed`. Different paths give independent seeds."""
    name = json.dumps([seed, *path])
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *path: str | int) -> np.random.Generator:
    """Return a new random generator at the start of the stream `path` of `seed`."""
    return np.random.default_rng(derive(seed, *path))
