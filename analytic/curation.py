"""A curation for labelled points that models a label verifier with errors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from ..common.components.curation import CurationResult
from ..common.components.metric import MetricInputs
from ..common.core.pool import Pool
from .data import true_labels

Probability = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True)
class VerifyLabels:
    """A label verifier with errors. It keeps correct and wrong labels with given probabilities (Feng et al. 2024)."""

    keep_right: Probability = 0.9
    """Probability of keeping a row with a correct label (phi in the paper)."""
    keep_wrong: Probability = 0.1
    """Probability of keeping a row with a wrong label (psi in the paper)."""
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[str, ...]] = ("x", "y")

    def expected_keep_rate(self, *, synthetic_fraction: float) -> float:
        return max(0.01, (self.keep_right + self.keep_wrong) / 2)

    def __call__(self, candidates: Pool, inputs: MetricInputs, *, rng: np.random.Generator) -> CurationResult:
        correct = candidates.array("y") == true_labels(candidates.array("x"))
        kept = np.flatnonzero(rng.random(len(correct)) < np.where(correct, self.keep_right, self.keep_wrong))
        return CurationResult(kept, {"wrong_before": 1 - correct.mean(), "wrong_after": 1 - correct[kept].mean() if len(kept) else 0.0})
