"""The settings of a training run. Kept free of torch, so that configs can be validated without loading it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field


@dataclass(frozen=True)
class Training:
    """How long and how a model is trained. Set exactly one of `steps` and `epochs`.

    With `steps`, all policies train equally long. With `epochs`, policies with larger pools train longer.
    """

    steps: Annotated[int, Field(ge=1)] | None = None
    """Number of optimizer steps."""
    epochs: Annotated[float, Field(gt=0)] | None = None
    """Number of passes over the training pool."""
    batch: Annotated[int, Field(ge=1)] = 32
    """Rows per step."""
    learning_rate: Annotated[float, Field(gt=0)] = 1e-3
    """Peak learning rate."""
    warmup: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Fraction of the steps in which the learning rate rises from 0 to its peak."""
    decay: Literal["constant", "linear", "cosine"] = "cosine"
    """How the learning rate falls after the warmup."""
    weight_decay: Annotated[float, Field(ge=0)] = 0.01
    """Weight decay of AdamW."""
    clip: Annotated[float, Field(gt=0)] = 1.0
    """Largest gradient norm; larger gradients are scaled down."""

    def __post_init__(self) -> None:
        if (self.steps is None) == (self.epochs is None):
            raise ValueError(f"set exactly one of steps and epochs, not steps: {self.steps} and epochs: {self.epochs}")

    def steps_for(self, rows: int) -> int:
        """The number of optimizer steps for a pool of `rows` rows."""
        if self.epochs is None:
            assert self.steps is not None
            return self.steps
        return max(1, round(self.epochs * rows / self.batch))

    def rate(self, step: int, steps: int) -> float:
        """The learning rate of a step (0-based) out of `steps`, as a fraction of `learning_rate`."""
        warmup_steps = max(1, round(self.warmup * steps))
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        remaining = 1 - (step - warmup_steps) / max(1, steps - warmup_steps)
        return {"constant": 1.0, "linear": remaining, "cosine": 0.5 * (1 - math.cos(math.pi * remaining))}[self.decay]
