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

    Call it after the computation: only then is the name of a GPU known, such as `cuda (NVIDIA H100 80GB HBM3)`.
    """
    environment = {"machine": platform.machine(), "system": platform.system(), "device": _device_in_use()}
    return {"python": platform.python_version(), **environment, **_package_versions()}


def _device_in_use() -> str:
    """Return the requested device. If torch is imported, `auto` is replaced by the device that torch uses, and a GPU in use is named."""
    requested = requested_device()
    if (torch := sys.modules.get("torch")) is None:
        return requested
    if requested == "auto":
        requested = "cuda" if torch.cuda.is_available() else "cpu"
    if requested.startswith("cuda") and torch.cuda.is_initialized():  # asking an unused GPU for its name would take memory on it
        return f"{requested} ({torch.cuda.get_device_name(requested)})"
    return requested


@cache
def _package_versions() -> Mapping[str, str]:
    return {name: importlib.metadata.version(name) for name in RECORDED_PACKAGES}
