"""Settings of the machine, not of the experiment: the device, and how often a fit writes a checkpoint.

They never change results and are not part of any cache key. The command line sets them as environment variables, so that
worker processes inherit them:

- `AUTOPHAGY_DEVICE`: `auto` (a GPU if there is one; the default), `cpu`, `cuda`, `cuda:1` or `mps`.
- `AUTOPHAGY_CHECKPOINT_SECONDS`: seconds between two checkpoints of a fit; 0 writes one after every step. Default: 60.

Only this module reads and writes these variables.
"""

from __future__ import annotations

import math
import os

from .errors import UserError

DEVICE_VARIABLE = "AUTOPHAGY_DEVICE"
CHECKPOINT_VARIABLE = "AUTOPHAGY_CHECKPOINT_SECONDS"

DEFAULT_DEVICE = "auto"
DEFAULT_CHECKPOINT_SECONDS = 60.0
"""At most about this much work is lost when a fit is killed."""


def requested_device() -> str:
    """The device that models run on, as the user wrote it; `auto` if nothing was set."""
    return os.environ.get(DEVICE_VARIABLE, DEFAULT_DEVICE)


def checkpoint_seconds() -> float:
    """Seconds between two checkpoints of a fit. Raises UserError if the variable is not a number >= 0."""
    value = os.environ.get(CHECKPOINT_VARIABLE, str(DEFAULT_CHECKPOINT_SECONDS))
    try:
        seconds = float(value)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise UserError(f"{CHECKPOINT_VARIABLE}: must be a number of seconds >= 0 (0: a checkpoint after every step), not '{value}'")
    return seconds


def configure(*, device: str, checkpoint_seconds: float) -> None:
    """Set the device and the checkpoint interval for this process and its workers."""
    os.environ[DEVICE_VARIABLE] = device
    os.environ[CHECKPOINT_VARIABLE] = str(checkpoint_seconds)
