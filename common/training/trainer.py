"""The training loop shared by every torch generator. Built on Accelerate, resumable, independent of global random state.

The randomness of step k (its batch, noise and dropout) depends only on (seed, k). A fit that is killed continues from its
last checkpoint and ends with bit-identical weights.
"""

from __future__ import annotations

import math
import os
import pickle
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..core.atomic_write import atomic_write
from ..core.errors import UserError
from ..core.random_streams import derive, stream
from ..core.runtime import checkpoint_seconds, requested_device
from .settings import Training

if TYPE_CHECKING:
    import torch

__all__ = ["TrainResult", "Training", "device", "seeded", "train", "visit_counts"]


@dataclass(frozen=True)
class TrainResult:
    """What an optimisation did."""

    steps: int
    visit_counts: np.ndarray
    """How often each row was part of a batch; int64 [n]."""
    loss: float
    """Mean loss over the last tenth of the steps."""


@dataclass(frozen=True)
class _Schedule:
    """Which rows each step trains on, as a function of the seed alone."""

    steps: int
    rows: int
    batch_size: int
    seed: int

    def batch(self, step: int) -> np.ndarray:
        """The rows of a step, int64 [batch]: the next `batch_size` positions in the concatenated orders of all epochs."""
        positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        total = self.steps * self.batch_size
        orders = {
            epoch: _epoch_order(int(epoch), total=total, rows=self.rows, seed=self.seed) for epoch in np.unique(positions // self.rows)
        }
        return np.array([orders[position // self.rows][position % self.rows] for position in positions])


def device() -> torch.device:
    """The device that models live on: the requested one, else a GPU if there is one, else the CPU. Never part of a cache key."""
    import torch

    requested = requested_device()
    if requested != "auto":
        return torch.device(requested)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Run a block with torch's random state set from `seed`, then restore the previous state."""
    import torch

    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        _set_random_state(seed)
        yield


def _set_random_state(seed: int) -> None:
    """Like torch.manual_seed, which on machines without a GPU also stores a stack trace at every call and is slow."""
    import torch

    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_available():
        torch.cuda.manual_seed_all(seed)


def train(
    module: torch.nn.Module,
    loss: Callable[[torch.Tensor], torch.Tensor],
    *,
    rows: int,
    training: Training,
    seed: int,
    scratch: Path,
) -> TrainResult:
    """Minimise `loss(row numbers of a batch, int64 [batch])` over the weights of `module`, in place.

    Rows are drawn in seeded permutations, one after the other, so the visit counts of two rows differ by at most one. An
    incomplete last epoch takes rows that are evenly spaced over the pool: every block of neighbouring rows (for example those
    from one generation) gets its share of the steps to within one row.

    `scratch`: a folder for the checkpoint. If it holds one, training continues from there.
    Raises UserError, naming the step, if the loss is not finite.
    """
    import torch
    from accelerate import Accelerator

    schedule = _Schedule(training.steps_for(rows), rows, training.batch, seed)
    accelerator = Accelerator(cpu=device().type == "cpu", mixed_precision="no", device_placement=False)
    optimizer = torch.optim.AdamW(module.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay, fused=True)
    prepared, optimizer = accelerator.prepare(module, optimizer)
    prepared.train()
    checkpoint = scratch / "checkpoint.pt"
    first_step, losses = _resume(checkpoint, module, optimizer)
    last_saved, interval = time.monotonic(), checkpoint_seconds()
    with seeded(seed):
        for step in range(first_step, schedule.steps):
            _set_random_state(derive(seed, "step", step))
            for group in optimizer.param_groups:
                group["lr"] = training.learning_rate * training.rate(step, schedule.steps)
            value = loss(torch.from_numpy(schedule.batch(step)))
            losses.append(float(value.detach()))
            if not math.isfinite(losses[-1]):
                raise UserError(f"the loss is {losses[-1]} at step {step} of {schedule.steps} (seed {seed}); try a lower learning_rate")
            accelerator.backward(value)
            accelerator.clip_grad_norm_(prepared.parameters(), training.clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if time.monotonic() - last_saved >= interval and step + 1 < schedule.steps:
                _save(checkpoint, module, optimizer, step + 1, losses)
                last_saved = time.monotonic()
    module.eval()
    tail = losses[-max(1, schedule.steps // 10) :]
    counts = visit_counts(schedule.steps * schedule.batch_size, rows=rows, seed=seed)
    return TrainResult(schedule.steps, counts, sum(tail) / len(tail))


def visit_counts(total: int, *, rows: int, seed: int) -> np.ndarray:
    """How often each of `rows` rows is among the first `total` drawn; int64 [rows]."""
    counts = np.full(rows, total // rows, dtype=np.int64)
    counts[_epoch_order(total // rows, total=total, rows=rows, seed=seed)] += 1
    return counts


def _epoch_order(epoch: int, *, total: int, rows: int, seed: int) -> np.ndarray:
    """The rows of an epoch in training order. The last epoch holds what is left of `total`, evenly spaced over the pool."""
    rng = stream(seed, "epoch", epoch)
    n = min(rows, total - epoch * rows)
    return rng.permutation((np.arange(n) * rows + rng.integers(rows)) // max(1, n))


def _save(path: Path, module: torch.nn.Module, optimizer: torch.optim.Optimizer, step: int, losses: list[float]) -> None:
    """Write a checkpoint; it replaces the previous one only when all its bytes are on disk."""
    import torch

    state = {"module": module.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "losses": losses}

    def write(draft: Path) -> None:
        with draft.open("wb") as file:  # torch.save(path) hides the system error that explains a failed write
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())

    atomic_write(path, write)


def _resume(path: Path, module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, list[float]]:
    """Load a checkpoint into module and optimizer: the next step and the losses so far; (0, []) if there is no readable one."""
    import torch

    if not path.exists():
        return 0, []
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        warnings.warn(f"checkpoint {path} cannot be read ({type(error).__name__}); the fit starts over", stacklevel=2)
        return 0, []
    module.load_state_dict(state["module"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"], state["losses"]
