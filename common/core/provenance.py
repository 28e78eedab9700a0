"""Where and with what something was made: written beside results, never part of what they are kept under."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from collections.abc import Mapping
from functools import cache

RECORDED = (
    *("autophagy", "torch", "torchvision", "transformers", "tokenizers"),
    *("diffusers", "accelerate", "torchmetrics", "numpy", "pyarrow"),
)
"""Packages whose versions are kept with every artifact."""


def provenance() -> dict[str, str]:
    """Where and with what something was made. Written beside results, never part of a key."""
    device = os.environ.get("AUTOPHAGY_DEVICE", "auto")
    if device == "auto" and (torch := sys.modules.get("torch")):
        device = "cuda" if torch.cuda.is_available() else "cpu"
    where = {"machine": platform.machine(), "system": platform.system(), "device": device}
    return {"python": platform.python_version(), **where, **_versions()}


@cache
def _versions() -> Mapping[str, str]:
    return {name: importlib.metadata.version(name) for name in RECORDED}
