"""Metrics that ask the model itself: the likelihood it gives to real rows, and the watermark that its detector finds."""

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
    """Negative log-likelihood of held-out rows under the model, in nats per row: exact or, for a VAE, an upper bound."""

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("model", "heldout")
    abilities: ClassVar[tuple[str, ...]] = ("score",)
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "heldout_nats": MetricInfo("likelihood", "nats per row", False, "Kingma & Welling 2014"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        return {"heldout_nats": inputs.model.score(inputs.heldout).mean()}


def detection_threshold(z: np.ndarray, false_positives: float) -> float:
    """The z-score above which a watermark detector flags at most a share `false_positives` of unmarked rows.

    z: float64 [n], the detector's scores of unmarked rows.
    """
    return float(np.quantile(z, 1 - false_positives, method="higher"))


@dataclass(frozen=True)
class WatermarkDetection:
    """How well the generator's watermark detector separates generated from held-out rows, at a given false positive rate.

    The threshold is set on real training rows and tested on held-out rows. The area under the ROC curve (Fawcett 2006) needs
    no threshold: 1 means that the detector always separates the two, 0.5 that it guesses.
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
