"""Every random number comes from `stream(seed, *path)`: independent streams that are named, never numbered.

A name such as `stream(3, "fit", 5)` gives the same numbers whatever else has been drawn, so a chain can be cut,
resumed, reordered or run in parallel without changing a single value.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np


def derive(seed: int, *path: str | int) -> int:
    """A 63-bit seed for the stream `path` below `seed`; distinct paths give independent seeds."""
    name = json.dumps([seed, *path])
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def stream(seed: int, *path: str | int) -> np.random.Generator:
    """The random generator called `path` below `seed`."""
    return np.random.default_rng(derive(seed, *path))
