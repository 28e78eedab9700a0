"""Canonical JSON: one byte string per value, so that equal values have equal hashes."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping


def canonical_json(value: object, *, where: str = "recipe") -> bytes:
    """JSON with sorted keys and no spaces, UTF-8.

    Raises ValueError, naming the path below `where`, for values without one unambiguous JSON form: objects, NaN and
    infinity, keys that are not strings.
    """
    _reject_ambiguous(value, where)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sha256_of(data: bytes) -> str:
    """Hexadecimal SHA-256 digest."""
    return hashlib.sha256(data).hexdigest()


def _reject_ambiguous(value: object, where: str) -> None:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{where} has the key {key!r} of type {type(key).__name__}; keys must be strings")
            _reject_ambiguous(inner, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            _reject_ambiguous(inner, f"{where}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is {value}; a recipe holds finite numbers only")
    elif not (value is None or isinstance(value, str | int | float | bool)):
        raise ValueError(f"{where} is a {type(value).__name__}; a recipe holds JSON values only")
