"""Provenance: the software and hardware that made an artifact. It is stored with results and is never part of a cache key."""

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
"""Names of the packages whose versions are recorded with every artifact."""


def provenance() -> dict[str, str]:
    """Return the versions of Python and of packages, the machine, the operating system and the device.

    If the requested device is `auto` and torch is already imported, the device that torch uses is recorded instead.
    """
    device = requested_device()
    if device == "auto" and (torch := sys.modules.get("torch")):
        device = "cuda" if torch.cuda.is_available() else "cpu"
    environment = {"machine": platform.machine(), "system": platform.system(), "device": device}
    return {"python": platform.python_version(), **environment, **_package_versions()}


@cache
def _package_versions() -> Mapping[str, str]:
    return {name: importlib.metadata.version(name) for name in RECORDED_PACKAGES}
