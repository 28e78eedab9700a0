"""The training loop of all torch generators, built on Accelerate. It can be resumed and does not use global random state.

The random numbers of step k (batch, noise, dropout) depend only on (seed, k). A killed fit continues from its last checkpoint
and ends with bit-identical weights.
"""

from __future__ import annotations

import math
import os
import pickle
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..core.atomic_write import atomic_write
from ..core.device import compiled, compute_in, device, seeded, set_random_state
from ..core.errors import UserError
from ..core.random_streams import derive, stream
from ..core.runtime import checkpoint_seconds
from ..core.task_threads import threads_for
from .settings import Training

if TYPE_CHECKING:
    import torch

STEPS_BETWEEN_READS = 32
"""Number of steps after which the host reads the losses. Until then, the host does not wait for the device."""

__all__ = ["TrainResult", "Training", "train", "visit_counts"]


@dataclass(frozen=True)
class TrainResult:
    """Number of steps, visits of each row and final loss of a training run."""

    steps: int
    """Number of optimizer steps."""
    visit_counts: np.ndarray
    """Number of batches that contained each row, int64 [n]."""
    loss: float
    """Mean loss of the last tenth of the steps."""


@dataclass(frozen=True)
class _Schedule:
    """The assignment of rows to steps. It depends only on these fields."""

    steps: int
    rows: int
    batch_size: int
    seed: int

    def batch(self, step: int) -> np.ndarray:
        """Return the row numbers of a step, int64 [batch_size].

        They are the next `batch_size` entries in the concatenated row orders of all epochs.
        """
        positions = np.arange(step * self.batch_size, (step + 1) * self.batch_size)
        epochs, places = np.divmod(positions, self.rows)
        return np.concatenate([self._epoch(int(epoch))[places[epochs == epoch]] for epoch in np.unique(epochs)])

    @lru_cache(maxsize=2)  # noqa: B019 - a schedule lives as long as its fit
    def _epoch(self, epoch: int) -> np.ndarray:
        return _epoch_order(epoch, total=self.steps * self.batch_size, rows=self.rows, seed=self.seed)


@dataclass
class _Losses:
    """The losses of a fit. They stay on the device for some steps, because reading a number waits for the device."""

    read: list[float]
    """Losses of the first steps, on the host."""
    pending: list[torch.Tensor] = field(default_factory=list)
    """Losses of the steps after those."""

    def add(self, value: torch.Tensor) -> None:
        self.pending.append(value.detach())

    def read_pending(self, schedule: _Schedule) -> None:
        """Move all losses to the host. Raises UserError with the number of the first step whose loss is not finite."""
        import torch

        if self.pending:
            self.read += torch.stack(self.pending).tolist()
            self.pending.clear()
        for step, value in enumerate(self.read):
            if not math.isfinite(value):
                raise UserError(f"the loss is {value} at step {step} of {schedule.steps} (seed {schedule.seed}); try a lower learning_rate")


def train(
    module: torch.nn.Module,
    loss: Callable[[torch.Tensor], torch.Tensor],
    *,
    rows: int,
    training: Training,
    seed: int,
    scratch: Path,
) -> TrainResult:
    """Train `module` in place with AdamW. `loss` computes the loss of a batch from its row numbers, int64 [batch].

    Each epoch visits all rows once, in an order that depends on the seed. So the visit counts of two rows differ by at most
    one. An incomplete last epoch visits rows that are evenly spaced over the pool. So every block of neighbouring rows (for
    example all rows of one generation) gets its proportional number of visits, up to one row.

    `scratch`: the folder of the checkpoint. If it contains a checkpoint, training continues from there.
    Raises UserError with the number of the step if the loss is not finite.
    """
    import torch
    from accelerate import Accelerator

    schedule = _Schedule(training.steps_for(rows), rows, training.batch, seed)
    accelerator = Accelerator(cpu=device().type == "cpu", mixed_precision="no", device_placement=False)
    optimizer = torch.optim.AdamW(module.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay, fused=True)
    prepared, optimizer = accelerator.prepare(module, optimizer)
    prepared.train()
    checkpoint = scratch / "checkpoint.pt"
    first_step, read = _resume(checkpoint, module, optimizer)
    losses = _Losses(read)
    last_saved, interval = time.monotonic(), checkpoint_seconds()
    backward = compute_in("tf32" if training.precision == "tf32" else "float32")  # autocast is for the forward pass only
    with seeded(seed), threads_for(module), compiled(module), backward:
        for step in range(first_step, schedule.steps):
            set_random_state(derive(seed, "step", step))
            for group in optimizer.param_groups:
                group["lr"] = training.learning_rate * training.rate(step, schedule.steps)
            with compute_in(training.precision):
                value = loss(torch.from_numpy(schedule.batch(step)))
            accelerator.backward(value)
            accelerator.clip_grad_norm_(prepared.parameters(), training.clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.add(value)
            is_last, save = step + 1 == schedule.steps, time.monotonic() - last_saved >= interval
            if is_last or save or (step + 1) % STEPS_BETWEEN_READS == 0:
                losses.read_pending(schedule)
            if save and not is_last:
                _save(checkpoint, module, optimizer, step + 1, losses.read)
                last_saved = time.monotonic()
    module.eval()
    tail = losses.read[-max(1, schedule.steps // 10) :]
    counts = visit_counts(schedule.steps * schedule.batch_size, rows=rows, seed=seed)
    return TrainResult(schedule.steps, counts, sum(tail) / len(tail))


def visit_counts(total: int, *, rows: int, seed: int) -> np.ndarray:
    """Count the visits of each of `rows` rows after `total` visits in all. Returns int64 [rows]."""
    counts = np.full(rows, total // rows, dtype=np.int64)
    counts[_epoch_order(total // rows, total=total, rows=rows, seed=seed)] += 1
    return counts


def _epoch_order(epoch: int, *, total: int, rows: int, seed: int) -> np.ndarray:
    """Return the row numbers of an epoch in training order.

    The last epoch contains the remaining part of `total` visits. Its rows are evenly spaced over the pool.
    """
    rng = stream(seed, "epoch", epoch)
    n = min(rows, total - epoch * rows)
    return rng.permutation((np.arange(n) * rows + rng.integers(rows)) // max(1, n))


def _save(path: Path, module: torch.nn.Module, optimizer: torch.optim.Optimizer, step: int, losses: list[float]) -> None:
    """Write a checkpoint. It replaces the previous checkpoint only after all its bytes are on disk."""
    import torch

    state = {"module": module.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "losses": losses}

    def write(draft: Path) -> None:
        with draft.open("wb") as file:  # torch.save(path) hides the system error that explains a failed write
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())

    atomic_write(path, write)


def _resume(path: Path, module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, list[float]]:
    """Load a checkpoint into the module and the optimizer.

    Returns the next step and the losses so far, or (0, []) if no readable checkpoint exists.
    """
    import torch

    if not path.exists():
        return 0, []
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        warnings.warn(f"checkpoint {path} cannot be read ({type(error).__name__}); the fit restarts at step 0", stacklevel=2)
        return 0, []
    module.load_state_dict(state["module"])
    optimizer.load_state_dict(state["optimizer"])
    return state["step"], state["losses"]
