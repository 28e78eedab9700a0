"""Runtime settings: the device, the time between two checkpoints of a fit, and compilation.

Runtime settings belong to the machine and not to the experiment. They are not part of any cache key. The command line stores
them in environment variables, which worker processes inherit:

- `AUTOPHAGY_DEVICE`: `cpu`, `cuda`, `cuda:1`, `mps` or `auto` (the default: a GPU if available, else the CPU).
- `AUTOPHAGY_CHECKPOINT_SECONDS`: seconds between two checkpoints. 0 writes a checkpoint after every step. Default: 60.
- `AUTOPHAGY_COMPILE`: 1 compiles models for training with `torch.compile`. Default: 0.

Only this module reads and writes these variables.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import UserError

DEVICE_VARIABLE = "AUTOPHAGY_DEVICE"
CHECKPOINT_VARIABLE = "AUTOPHAGY_CHECKPOINT_SECONDS"

COMPILE_VARIABLE = "AUTOPHAGY_COMPILE"

DEFAULT_DEVICE = "auto"
DEFAULT_CHECKPOINT_SECONDS = 60.0
"""Default time between two checkpoints in seconds. A killed fit loses about this much work at most."""


def requested_device() -> str:
    """Return the device setting as the user wrote it. Default: `auto`."""
    return os.environ.get(DEVICE_VARIABLE, DEFAULT_DEVICE)


def checkpoint_seconds() -> float:
    """Return the time between two checkpoints of a fit in seconds. Raises UserError if the variable is not a number >= 0."""
    value = os.environ.get(CHECKPOINT_VARIABLE, str(DEFAULT_CHECKPOINT_SECONDS))
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise UserError(f"{CHECKPOINT_VARIABLE}: must be a number of seconds >= 0 (0 writes a checkpoint after every step), not '{value}'")
    return seconds


def compile_requested() -> bool:
    """Return True if models should be compiled for training. Raises UserError if the variable is neither 0 nor 1."""
    value = os.environ.get(COMPILE_VARIABLE, "0")
    if value not in ("0", "1"):
        raise UserError(f"{COMPILE_VARIABLE}: must be 0 or 1, not '{value}'")
    return value == "1"


def configure(*, device: str, checkpoint_seconds: float, compile_models: bool) -> None:
    """Set the runtime settings of this process and its workers."""
    os.environ[COMPILE_VARIABLE] = str(int(compile_models))
    os.environ[DEVICE_VARIABLE] = device
    os.environ[CHECKPOINT_VARIABLE] = str(checkpoint_seconds)


@contextmanager
def use_device(name: str) -> Iterator[None]:
    """Set the device of this process and of workers that it starts, for a block. `name` is a device of torch, or `auto`."""
    before = os.environ.get(DEVICE_VARIABLE)
    os.environ[DEVICE_VARIABLE] = name
    try:
        yield
    finally:
        if before is None:
            del os.environ[DEVICE_VARIABLE]
        else:
            os.environ[DEVICE_VARIABLE] = before
