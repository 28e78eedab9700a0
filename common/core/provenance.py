"""The environment in which an artifact was made: recorded next to results, never part of a cache key."""

from __future__ import annotations

import importlib.metadata
import platform
import sys
from collections.abc import Mapping
from functools import cache

from .runtime import requested_device

RECORDED_PACKAGES = (
    *("autophagy", "torch", "torchvision", "transformers", "tokenizers"),
    *("diffusers", "accelerate", "torchmetrics", "numpy", "pyarrow"),
)
"""Packages whose versions are recorded with every artifact."""


def provenance() -> dict[str, str]:
    """Python version, machine, system, device and package versions.

    With `auto` as the requested device, the actual one is recorded if torch is already imported.
    """
    device = requested_device()
    if device == "auto" and (torch := sys.modules.get("torch")):
        device = "cuda" if torch.cuda.is_available() else "cpu"
    environment = {"machine": platform.machine(), "system": platform.system(), "device": device}
    return {"python": platform.python_version(), **environment, **_package_versions()}


@cache
def _package_versions() -> Mapping[str, str]:
    return {name: importlib.metadata.version(name) for name in RECORDED_PACKAGES}
