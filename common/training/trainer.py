"""The one optimisation loop, shared by every torch generator. Built on Accelerate; restartable; independent of global state.

The randomness of step k is a function of (seed, k) and of nothing else: its batch, its noise, its dropout. A fit that was
killed goes on from its last checkpoint and ends with the very weights it would have had.
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
from typing import Annotated, Literal

import numpy as np
import torch
from accelerate import Accelerator
from pydantic import Field

from ..core.errors import UserError
from ..core.random_streams import derive, stream

CHECKPOINT_SECONDS = 60.0
"""At most about this much work is lost when a fit is killed, unless `--checkpoint-seconds` says otherwise."""


@dataclass(frozen=True)
class Training:
    """How long and how a model is trained. Exactly one of `steps` and `epochs`: steps keep policies comparable."""

    steps: Annotated[int, Field(ge=1)] | None = None
    epochs: Annotated[float, Field(gt=0)] | None = None
    batch: Annotated[int, Field(ge=1)] = 32
    """Rows a step."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Share of the steps over which the learning rate rises from 0."""
    decay: Literal["constant", "linear", "cosine"] = "cosine"
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest gradient norm."""

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(f"exactly one of steps and epochs is needed, got steps: {self.steps} and epochs: {self.epochs}")

    def steps_for(self, rows: int) -> int:
        """Optimizer steps for a pool of that many rows."""
        return self.steps or max(1, round(self.epochs * rows / self.batch))

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of a step (0-based) as a share of `learning_rate`."""
        rising = max(1, round(self.warmup * steps))
        if step < rising:
            return (step + 1) / rising
        left = 1 - (step - rising) / max(1, steps - rising)
        return {"constant": 1.0, "linear": left, "cosine": 0.5 * (1 - math.cos(math.pi * left))}[self.decay]


@dataclass(frozen=True)
class TrainResult:
    """What an optimisation did: `seen` [n] int64, how often each row went through the optimizer."""

    steps: int
    visit_counts: np.ndarray
    loss: float
    """Mean loss over the last tenth of the steps."""


def device() -> torch.device:
    """Where models live: what `--device` (or AUTOPHAGY_DEVICE) says, else a GPU if there is one. Never part of a key."""
    wanted = os.environ.get("AUTOPHAGY_DEVICE", "auto")
    if wanted != "auto":
        return torch.device(wanted)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def checkpoint_seconds() -> float:
    """Seconds of work between two checkpoints of a fit. Like the device it is no part of any key; UserError if it is no such number."""
    wanted = os.environ.get("AUTOPHAGY_CHECKPOINT_SECONDS", str(CHECKPOINT_SECONDS))
    try:
        seconds = float(wanted)
    except ValueError:
        seconds = math.nan
    if not seconds >= 0:
        raise UserError(f"AUTOPHAGY_CHECKPOINT_SECONDS: a number of seconds, 0 for a checkpoint after every step, not '{wanted}'")
    return seconds


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, torch's random state starts from `seed`; outside, nothing has happened."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        _set_state(seed)
        yield


def _set_state(seed: int) -> None:
    """What torch.manual_seed does, without the stack trace it keeps at every call for a GPU that is not there."""
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
    """Minimise `loss(rows of a batch, int64 [batch])` over the weights of `module`, in place.

    Rows are dealt in seeded permutations, one after the other, so no row is seen more than once more often than another. A last
    epoch that is cut short takes rows evenly spaced over the pool: any block of neighbouring rows (those that one generation
    made, say) has its share of the steps to within one row. Raises UserError naming the step if the loss is not finite.
    """
    steps = training.steps_for(rows)
    accelerator = Accelerator(cpu=device().type == "cpu", mixed_precision="no", device_placement=False)
    optimizer = torch.optim.AdamW(module.parameters(), lr=training.learning_rate, weight_decay=training.weight_decay, fused=True)
    prepared, optimizer = accelerator.prepare(module, optimizer)
    prepared.train()
    checkpoint = scratch / "checkpoint.pt"
    first, losses = _resume(checkpoint, module, optimizer)
    saved, every = time.monotonic(), checkpoint_seconds()
    with seeded(seed):
        for step in range(first, steps):
            _set_state(derive(seed, "step", step))
            batch = _batch(step, steps=steps, rows=rows, size=training.batch, seed=seed)
            for group in optimizer.param_groups:
                group["lr"] = training.learning_rate * training.rate(step, steps)
            value = loss(torch.from_numpy(batch))
            losses.append(float(value.detach()))
            if not math.isfinite(losses[-1]):
                raise UserError(f"the loss is {losses[-1]} at step {step} of {steps} (seed {seed}); a lower learning_rate may help")
            accelerator.backward(value)
            accelerator.clip_grad_norm_(prepared.parameters(), training.clip)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            if time.monotonic() - saved >= every and step + 1 < steps:
                _save(checkpoint, module, optimizer, step + 1, losses)
                saved = time.monotonic()
    module.eval()
    tail = losses[-max(1, steps // 10) :]
    return TrainResult(steps, visit_counts(steps * training.batch, rows=rows, seed=seed), sum(tail) / len(tail))


def visit_counts(total: int, *, rows: int, seed: int) -> np.ndarray:
    """How often each of `rows` rows is among the `total` dealt; int64 [rows]."""
    counts = np.full(rows, total // rows, dtype=np.int64)
    counts[_order(total // rows, total=total, rows=rows, seed=seed)] += 1
    return counts


def _batch(step: int, *, steps: int, rows: int, size: int, seed: int) -> np.ndarray:
    """The rows of a step: positions step * size ... of the orders of all epochs, one after the other."""
    positions = np.arange(step * size, (step + 1) * size)
    orders = {epoch: _order(int(epoch), total=steps * size, rows=rows, seed=seed) for epoch in np.unique(positions // rows)}
    return np.array([orders[position // rows][position % rows] for position in positions])


def _order(epoch: int, *, total: int, rows: int, seed: int) -> np.ndarray:
    """The rows of an epoch in their order; all of them, or in the last one those that are left of `total`, evenly spaced."""
    rng = stream(seed, "epoch", epoch)
    left = min(rows, total - epoch * rows)
    return rng.permutation((np.arange(left) * rows + rng.integers(rows)) // max(1, left))


def _save(path: Path, module: torch.nn.Module, optimizer: torch.optim.Optimizer, step: int, losses: list[float]) -> None:
    draft = path.with_suffix(".draft")
    state = {"module": module.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "losses": losses}
    with draft.open("wb") as file:  # given a path, torch does not say why it could not write
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)


def _resume(path: Path, module: torch.nn.Module, optimizer: torch.optim.Optimizer) -> tuple[int, list[float]]:
    if not path.exists():
        return 0, []
    try:
        kept = torch.load(path, weights_only=True, map_location="cpu")
    except (RuntimeError, EOFError, pickle.UnpicklingError) as error:
        warnings.warn(f"checkpoint {path} cannot be read ({type(error).__name__}); the fit starts over", stacklevel=2)
        return 0, []
    module.load_state_dict(kept["module"])
    optimizer.load_state_dict(kept["optimizer"])
    return kept["step"], kept["losses"]
