"""Training settings. This module does not import torch, so that configs can be validated quickly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from ..core.device import Precision


@dataclass(frozen=True)
class Training:
    """Training length, batch size and optimizer settings. Set exactly one of `steps` and `epochs`.

    With `steps`, all policies take the same number of steps. With `epochs`, policies with larger pools take more steps.
    """

    steps: Annotated[int, Field(ge=1)] | None = None
    """Number of optimizer steps."""
    epochs: Annotated[float, Field(gt=0)] | None = None
    """Number of passes over the training pool."""
    batch: Annotated[int, Field(ge=1)] = 32
    """Number of rows per step."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Peak learning rate."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Fraction of the steps in which the learning rate increases from 0 to its peak."""
    decay: Literal["constant", "linear", "cosine"] = "cosine"
    """Decay of the learning rate after the warmup."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Weight decay of AdamW."""
    clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest norm of the gradient. Larger gradients are scaled down to it."""

    precision: Precision = "float32"
    """Precision of matrix products and convolutions: in training, and in everything that the trained model computes."""

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(f"set exactly one of steps and epochs, not steps: {self.steps} and epochs: {self.epochs}")

    def steps_for(self, rows: int) -> int:
        """Return the number of optimizer steps for a pool of `rows` rows."""
        if self.epochs is None:
            assert self.steps is not None
            return self.steps
        return max(1, round(self.epochs * rows / self.batch))

    def rate(self, step: int, steps: int) -> float:
        """Return the learning rate of a step as a fraction of `learning_rate`. `step` is 0-based, `steps` is the total number."""
        warmup_steps = max(1, round(self.warmup * steps))
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        remaining = 1 - (step - warmup_steps) / max(1, steps - warmup_steps)
        return {"constant": 1.0, "linear": remaining, "cosine": 0.5 * (1 - math.cos(math.pi * remaining))}[self.decay]
