"""The machine: its description, and its limits as measured with torch (operations per second and bytes per second)."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("torch", "transformers", "diffusers", "numpy")
MATRIX_ROWS = {"cpu": 2048, "cuda": 8192}
"""Rows of the square matrices that are multiplied."""
COPIED_BYTES = 2**28
"""Size of the block that is copied, far larger than the caches of a CPU and of a GPU."""


def description(device: str) -> dict[str, object]:
    """Describe processor, memory and versions."""
    import psutil

    return {
        "processor": gpu_name() if device == "cuda" else cpu_name(),
        "cores": len(os.sched_getaffinity(0)),
        "memory": f"{psutil.virtual_memory().total / 2**30:.0f} GiB",
        "python": platform.python_version(),
        **{name: installed_version(name) for name in PACKAGES},
    }


def gpu_name() -> str:
    import torch

    return torch.cuda.get_device_name()


def cpu_name() -> str:
    models = (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name"))
    return next(models, platform.machine())


def installed_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"


def limits(device: str) -> Mapping[str, float]:
    """Measure operations per second of a matrix product in each precision, and bytes per second of a copy (`memory`)."""
    import torch
    from autophagy.common.core.device import compute_in

    n = MATRIX_ROWS[device]
    measured = {}
    for precision in ("float32", "bfloat16", "tf32") if device == "cuda" else ("float32", "bfloat16"):
        a = torch.randn(n, n, device=device, dtype=torch.bfloat16 if precision == "bfloat16" else torch.float32)
        with compute_in("tf32" if precision == "tf32" else "float32"):
            measured[precision] = 2 * n**3 / shortest_seconds(lambda a=a: a @ a)
    block = torch.zeros(COPIED_BYTES // 4, device=device)
    target = torch.empty_like(block)
    measured["memory"] = 2 * COPIED_BYTES / shortest_seconds(lambda: target.copy_(block))  # a copy reads and writes
    return measured


def shortest_seconds(work: Callable[[], object], *, repeats: int = 8) -> float:
    """Return the duration of the fastest of several runs."""
    import torch

    def seconds() -> float:
        started = time.perf_counter()
        work()
        if torch.cuda.is_initialized():
            torch.cuda.synchronize()
        return time.perf_counter() - started

    return min(seconds() for _ in range(repeats))
