"""Canonical JSON. Equal values have the same bytes and therefore the same hash."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping


def canonical_json(value: object, *, where: str = "recipe") -> bytes:
    """Serialise a value to JSON with sorted keys and without spaces, encoded as UTF-8.

    Raises ValueError for values that have no unique JSON form: objects, NaN, infinity, and keys that are not strings. The
    message gives the path of the value and starts with `where`.
    """
    _reject_ambiguous(value, where)
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def sha256_of(data: bytes) -> str:
    """Compute the SHA-256 digest of bytes. Returns 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def _reject_ambiguous(value: object, where: str) -> None:
    """Raise ValueError if a value, or a value nested in it, has no unique JSON form."""
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str):
                raise ValueError(f"{where} has the key {key!r} of type {type(key).__name__}, but keys must be strings")
            _reject_ambiguous(inner, f"{where}.{key}")
    elif isinstance(value, list | tuple):
        for index, inner in enumerate(value):
            _reject_ambiguous(inner, f"{where}[{index}]")
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is {value}, but numbers in a recipe must be finite")
    elif not (value is None or isinstance(value, str | int | float | bool)):
        raise ValueError(f"{where} has the type {type(value).__name__}, but values in a recipe must be JSON values")
