"""What is read off generated images, beside the feature-space metrics of `common`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..common.errors import UserError
from ..common.metrics import Evidence, Measure


@dataclass(frozen=True)
class Classes:
    """Which classes the made images show, as the feature model's classifier sees them.

    Every image counts for its likeliest class. The entropy of the class shares is ln(classes) when all are equally common; it
    falls as classes vanish.
    """

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("image",)
    reads: ClassVar[tuple[str, ...]] = ("made", "features")
    measures: ClassVar[Mapping[str, Measure]] = {
        "class_entropy": Measure("diversity", "nats", True, "Salimans et al. 2016"),
        "class_share": Measure("tail", "share of images", None, "Alemohammad et al. 2024"),
        "rarest_class_share": Measure("tail", "share of images", True, "Alemohammad et al. 2024"),
    }

    def __call__(self, evidence: Evidence) -> Mapping[str, float]:
        found = evidence.features(evidence.made)
        if "probabilities" not in found:
            raise UserError("metrics: 'classes' needs a feature model that knows classes; use features=classifier or leave it out")
        probabilities = found["probabilities"].astype(np.float64)  # [n, classes]
        shares = np.bincount(probabilities.argmax(1), minlength=probabilities.shape[1]) / len(probabilities)
        some = shares[shares > 0]
        return {
            "class_entropy": float(-(some * np.log(some)).sum()),
            "rarest_class_share": shares.min(),
            **{f"class_share/{number}": share for number, share in enumerate(shares)},
        }


@dataclass(frozen=True)
class PixelVariance:
    """Variance of a pixel over the images, averaged over pixels and channels; grey levels 0 to 1. 0 when all images are equal."""

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("image",)
    reads: ClassVar[tuple[str, ...]] = ("made",)
    measures: ClassVar[Mapping[str, Measure]] = {
        "pixel_variance": Measure("diversity", "squared grey level (0 to 1)", True, "Bertrand et al. 2024"),
    }

    def __call__(self, evidence: Evidence) -> Mapping[str, float]:
        images = evidence.made.array("image").astype(np.float64) / 255
        return {"pixel_variance": images.var(axis=0).mean()}
