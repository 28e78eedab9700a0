"""Finds the GPUs of this machine, and decides which worker process uses which GPU and how many processor cores a task may use.

No function of this module creates a CUDA context, so the parent process of the workers needs no memory on a GPU.
"""

from __future__ import annotations

import ctypes
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ..core.errors import UserError, did_you_mean
from ..core.resources import processors
from ..core.runtime import DEVICE_VARIABLE, requested_device

if TYPE_CHECKING:
    from ..config.schema import Experiment

VISIBLE_GPUS_VARIABLE = "CUDA_VISIBLE_DEVICES"
WORKERS_PER_GPU = 2
"""Default number of workers that share a GPU. While one of them measures on the CPU, the other one uses the GPU."""
THREADS_VARIABLE = "OMP_NUM_THREADS"
DEVICE_KINDS = ("auto", "cpu", "cuda", "mps")


def visible_gpus() -> Sequence[str]:
    """Return the GPUs that CUDA would number 0, 1, ... in this process: their indices, UUIDs or MIG names for CUDA_VISIBLE_DEVICES.

    Imports torch only if this machine has a GPU driver.
    """
    chosen = os.environ.get(VISIBLE_GPUS_VARIABLE)
    entries = None if chosen is None else list(takewhile(lambda entry: entry not in ("", "-1"), map(str.strip, chosen.split(","))))
    if entries == [] or not _has_gpu_driver():
        return []
    import torch

    count = torch.cuda.device_count()
    if entries is None:
        return [str(index) for index in range(count)]
    is_partitioned = count > 0 and any(entry.startswith("MIG-") for entry in entries)
    return entries if is_partitioned else entries[:count]  # a process sees at most one MIG partition, so torch counts one


def _has_gpu_driver() -> bool:
    """Return whether the driver of NVIDIA or AMD GPUs is installed."""
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return Path("/dev/kfd").exists()
    return True


def gpus_for(device: str, gpus: Sequence[str]) -> Sequence[str]:
    """Return the GPUs that the workers share: all with `auto` or `cuda`, one with `cuda:1`, none with any other device.

    gpus: result of `visible_gpus`. Raises UserError if the GPU does not exist.
    """
    if device == "auto":
        return gpus
    kind, _, index = device.partition(":")
    if kind != "cuda":
        return []
    if not gpus:
        visible = os.environ.get(VISIBLE_GPUS_VARIABLE)
        reason = "" if visible is None else f" ({VISIBLE_GPUS_VARIABLE} is '{visible}')"
        raise UserError(f"--device {device}: torch finds no GPU on this machine{reason}; use --device cpu")
    if not index:
        return gpus
    if int(index) >= len(gpus):
        existing = "the only one is cuda:0" if len(gpus) == 1 else f"there are {', '.join(f'cuda:{number}' for number in range(len(gpus)))}"
        raise UserError(f"--device {device}: there is no such GPU; {existing}")
    return [gpus[int(index)]]


def check_device(device: str) -> None:
    """Raise UserError if a device does not exist. Imports torch only if the device is neither `auto` nor `cpu`."""
    if device in ("auto", "cpu"):
        return
    if not re.fullmatch(r"[a-z]+(:\d+)?", device):
        raise UserError(f"--device {device}: must be auto, cpu, cuda, cuda:1 or mps{did_you_mean(device, DEVICE_KINDS)}")
    if device.startswith("cuda"):
        gpus_for(device, visible_gpus())
        return
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {device}: {str(error).splitlines()[0]}{did_you_mean(device, DEVICE_KINDS)}") from error


def worker_environment(device: str, gpus: Sequence[str], worker: int) -> Mapping[str, str]:
    """Return the environment variables that give a worker its GPU. Workers take GPUs in turn, so more workers than GPUs share them.

    gpus: result of `gpus_for`. worker: 0 for the first worker. A worker sees only its own GPU, under the name `cuda:0`.
    """
    if not gpus:
        return {}
    return {VISIBLE_GPUS_VARIABLE: gpus[worker % len(gpus)], DEVICE_VARIABLE: device.partition(":")[0]}


# ---- workers and threads ----------------------------------------------------------------------------------------------

TaskKind = Literal["prepare", "generation 0", "chain"]
"""The kinds of tasks of the scheduler."""


@dataclass(frozen=True)
class Placement:
    """The resources of the tasks of a run."""

    workers: int
    """Number of worker processes."""
    device: str
    """The device setting of the user."""
    gpus: Sequence[str]
    """The GPUs that the workers share. See `gpus_for`."""
    threads: Mapping[TaskKind, int]
    """Number of threads that a task may use to fit a large model (see `core/task_threads.py`)."""

    def environment(self, worker: int) -> Mapping[str, str]:
        """Return the environment variables of a worker process. See `worker_environment`."""
        return worker_environment(self.device, self.gpus, worker)


def place(experiments: Sequence[Experiment], *, workers: int | None) -> Placement:
    """Divide the GPUs and the cores of this machine among the tasks of a run. Raises UserError if the requested device does not exist.

    On the CPU, the threads of a task depend on the configs and the machine only, because they can change the last bits of results. On
    GPUs, workers share the cores. workers: None means one per core or, on GPUs, WORKERS_PER_GPU per GPU, but not more than chains.
    """
    device = requested_device()
    check_device(device)
    gpus, cores = gpus_for(device, visible_gpus()), processors()
    tasks: Mapping[TaskKind, int] = {
        "prepare": len(experiments),
        "generation 0": sum(len(one.seeds) for one in experiments),
        "chain": sum(one.chains for one in experiments),
    }
    workers = workers or max(1, min(cores, tasks["chain"], WORKERS_PER_GPU * len(gpus) if gpus else cores))
    return Placement(workers, device, gpus, {kind: _threads(cores, shares=workers if gpus else count) for kind, count in tasks.items()})


def _threads(cores: int, *, shares: int) -> int:
    """Return the number of threads for one of `shares` tasks that share the cores. Users limit it with OMP_NUM_THREADS."""
    threads, limit = max(1, cores // shares), os.environ.get(THREADS_VARIABLE, "").partition(",")[0].strip()  # "4,2": nested threads
    if not limit:
        return threads
    if not limit.isdecimal() or int(limit) == 0:
        raise UserError(f"{THREADS_VARIABLE}: must be a number of threads >= 1, not '{limit}'")
    return min(threads, int(limit))
