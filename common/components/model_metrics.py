"""Metrics that call methods of the model: the likelihood of held-out rows, and watermark detection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from .metric import MetricInfo, MetricInputs

FalsePositiveRate = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True)
class HeldOutScore:
    """Negative log-likelihood of held-out rows under the model, in nats per row. For a VAE, the value is an upper bound."""

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("model", "heldout")
    abilities: ClassVar[tuple[str, ...]] = ("score",)
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "heldout_nats": MetricInfo("likelihood", "nats per row", False, "Kingma & Welling 2014"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        return {"heldout_nats": inputs.model.score(inputs.heldout).mean()}


def detection_threshold(z: np.ndarray, false_positives: float) -> float:
    """Compute the threshold of a watermark detector. At most the share `false_positives` of unmarked rows has a higher z-score.

    z: z-scores of unmarked rows, float64 [n].
    """
    return float(np.quantile(z, 1 - false_positives, method="higher"))


@dataclass(frozen=True)
class WatermarkDetection:
    """Watermark detection rate on generated rows, false alarm rate on held-out rows, area under the ROC curve, and mean z-score.

    The threshold is computed from real training rows for the given false positive rate. The area under the ROC curve
    (Fawcett 2006) needs no threshold. It is 1 for perfect detection and 0.5 for random guessing.
    """

    false_positives: FalsePositiveRate = 0.01
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("generated", "heldout", "real", "model")
    abilities: ClassVar[tuple[str, ...]] = ("detect",)
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "watermark_detected": MetricInfo("mixture", "share of made rows", None, "Kirchenbauer et al. 2023"),
        "watermark_false_alarms": MetricInfo("mixture", "share of held-out rows", None, "Kirchenbauer et al. 2023"),
        "watermark_auc": MetricInfo("mixture", "area under the ROC curve", None, "Fawcett 2006"),
        "watermark_z": MetricInfo("mixture", "mean z of made rows", None, "Kirchenbauer et al. 2023"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        from scipy.stats import rankdata

        generated, heldout, real = (inputs.model.detect(pool.bare()) for pool in (inputs.generated, inputs.heldout, inputs.real))
        threshold = detection_threshold(real, self.false_positives)
        ranks = rankdata(np.concatenate([generated, heldout]))[: len(generated)]
        return {
            "watermark_detected": (generated > threshold).mean(),
            "watermark_false_alarms": (heldout > threshold).mean(),
            "watermark_auc": (ranks.mean() - (len(generated) + 1) / 2) / len(heldout),  # Mann-Whitney form of the area
            "watermark_z": generated.mean(),
        }
