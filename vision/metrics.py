"""What is read off generated images, beside the feature-space metrics of `common`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..common.errors import UserError
from ..common.metrics import Evidence, Measure
from ..common.pool import Pool
from ..common.tails import FREQUENCY, by_frequency


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
        seen = likeliest(evidence, evidence.made, metric="classes")
        shares = np.bincount(seen, minlength=evidence.features(evidence.made)["probabilities"].shape[1]) / len(seen)
        some = shares[shares > 0]
        return {
            "class_entropy": float(-(some * np.log(some)).sum()),
            "rarest_class_share": shares.min(),
            **{f"class_share/{number}": share for number, share in enumerate(shares)},
        }


@dataclass(frozen=True)
class ClassFrequency:
    """What became of common and of rare classes: group 01 is the commonest of the real images, 10 the rarest.

    Real and made images are both sorted by the feature model's classifier, so its mistakes fall on both.
    """

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("image",)
    reads: ClassVar[tuple[str, ...]] = ("made", "real", "features")
    measures: ClassVar[Mapping[str, Measure]] = FREQUENCY

    def __call__(self, evidence: Evidence) -> Mapping[str, float]:
        real, made = (Counter(likeliest(evidence, pool, metric="class-frequency").tolist()) for pool in (evidence.real, evidence.made))
        return by_frequency(real, made, by_mass=False)


def likeliest(evidence: Evidence, pool: Pool, *, metric: str) -> np.ndarray:
    """The likeliest class of each image, int64 [n]; UserError if the feature model knows none."""
    found = evidence.features(pool)
    if "probabilities" not in found:
        raise UserError(f"metrics: '{metric}' needs a feature model that knows classes; use features=classifier or leave it out")
    return found["probabilities"].argmax(1)


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
