"""Named random streams: every random number of the package comes from `stream(seed, *path)`.

`stream(3, "fit", 5)` gives the same numbers regardless of what was drawn before. A chain can therefore be interrupted,
resumed, reordered or run in parallel without changing a single value.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np


def derive(seed: int, *path: str | int) -> int:
    """A 63-bit seed for the stream `path` of `seed`. Different paths give independent seeds."""
    name = json.dumps([seed, *path])
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *path: str | int) -> np.random.Generator:
    """A new random generator at the start of the stream `path` of `seed`."""
    return np.random.default_rng(derive(seed, *path))
