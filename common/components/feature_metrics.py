"""Metrics that compare generated rows with real rows in the space of the feature model, for every modality."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from .distances import (
    density_coverage,
    effective_rank,
    frechet_distance,
    kernel_distance,
    mauve,
    nearest_distance,
    precision_recall,
    vendi_score,
)
from .metric import MetricInfo, MetricInputs

RowLimit = Annotated[int, Field(ge=2)]


def _features(inputs: MetricInputs, max_rows: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Return the features [n, d] of the generated rows and of the held-out rows, of at most the first `max_rows` rows each."""
    generated, heldout = (inputs.features(pool)["features"][:max_rows] for pool in (inputs.generated, inputs.heldout))
    return generated, heldout


@dataclass(frozen=True)
class Frechet:
    """FID, or Frechet distance of another feature model, between generated and held-out rows (Heusel et al. 2017, eq. 6).

    The name FID is used only with the feature model `inception`. Small samples bias the value upwards, so compare it with its
    floor.
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("generated", "heldout", "features")
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "frechet_distance": MetricInfo("fidelity", "squared feature distance", False, "Heusel et al. 2017"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        return {"frechet_distance": frechet_distance(*_features(inputs))}


@dataclass(frozen=True)
class PrecisionRecall:
    """Improved precision and recall in feature space, from k nearest neighbours (Kynkaanniemi et al. 2019, eq. 1 and 2).

    Precision is the share of generated rows inside the manifold of held-out rows. Recall is the share of held-out rows inside
    the manifold of generated rows. Recall falls if diversity is lost.
    """

    k: Annotated[int, Field(ge=1)] = 3
    max_rows: RowLimit | None = None
    """Largest number of compared rows (the first ones), because the cost is quadratic. The column `n` counts them. Default: all."""
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("generated", "heldout", "features")
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "precision": MetricInfo("fidelity", "share", True, "Kynkaanniemi et al. 2019"),
        "recall": MetricInfo("diversity", "share", True, "Kynkaanniemi et al. 2019"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        precision, recall = precision_recall(*_features(inputs, self.max_rows), k=self.k)
        return {"precision": precision, "recall": recall}


@dataclass(frozen=True)
class KernelDistance:
    """KID, or kernel distance of another feature model, between generated and held-out rows (Binkowski et al. 2018).

    The name KID is used only with the feature model `inception`. Unlike the Frechet distance, the kernel distance has no bias
    from the number of rows, and it depends on more than the first two moments.
    """

    max_rows: RowLimit | None = None
    """Largest number of compared rows (the first ones), because the cost is quadratic. The column `n` counts them. Default: all."""
    version: ClassVar[int] = 2
    reads: ClassVar[tuple[str, ...]] = ("generated", "heldout", "features")
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "kernel_distance": MetricInfo("fidelity", "squared kernel distance", False, "Binkowski et al. 2018"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        return {"kernel_distance": kernel_distance(*_features(inputs, self.max_rows))}


@dataclass(frozen=True)
class DensityCoverage:
    """Density and coverage in feature space, from k nearest neighbours (Naeem et al. 2020).

    A higher density is not better. Density is about 1 for real rows and much higher for rows that crowd in the middle of the
    data, where many balls overlap.
    """

    k: Annotated[int, Field(ge=1)] = 5
    max_rows: RowLimit | None = None
    """Largest number of compared rows (the first ones), because the cost is quadratic. The column `n` counts them. Default: all."""
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("generated", "heldout", "features")
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "density": MetricInfo("fidelity", "balls a row lies in, over k", None, "Naeem et al. 2020"),
        "coverage": MetricInfo("tail", "share of held-out rows", True, "Naeem et al. 2020"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        density, coverage = density_coverage(*_features(inputs, self.max_rows), k=self.k)
        return {"density": density, "coverage": coverage}


@dataclass(frozen=True)
class Mauve:
    """MAUVE between generated and held-out rows in feature space (Pillutla et al. 2021). Combines fidelity and diversity.

    Both sets are assigned to the same k-means clusters. With few rows per cluster, the value is below 1 even for two real
    samples. So compare it with its floor for the same number of rows and clusters.
    """

    clusters: Annotated[int, Field(ge=2)] | None = None
    """Number of clusters. Default: a tenth of the rows, at most 500."""
    version: ClassVar[int] = 2
    reads: ClassVar[tuple[str, ...]] = ("generated", "heldout", "features")
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "mauve": MetricInfo("fidelity", "area under the divergence curve, 0 to 1", True, "Pillutla et al. 2021"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        return {"mauve": mauve(*_features(inputs), clusters=self.clusters)}


@dataclass(frozen=True)
class Vendi:
    """Vendi score and effective rank of the features of generated rows. Both measure diversity without real rows."""

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("generated", "features")
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "vendi_score": MetricInfo("diversity", "different rows in effect", True, "Friedman & Dieng 2023"),
        "effective_rank": MetricInfo("diversity", "directions in effect", True, "Roy & Vetterli 2007"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        features = inputs.features(inputs.generated)["features"]
        return {"vendi_score": vendi_score(features), "effective_rank": effective_rank(features)}


@dataclass(frozen=True)
class Memorisation:
    """Memorisation: tests if generated rows are closer to real training rows than to held-out rows, and counts exact copies.

    `nearest_ratio` is the distance to the nearest real training row divided by the distance to the nearest held-out row (the
    distances of Meehan et al. 2020). It is the median over generated rows. Both reference sets have equally many rows, so the
    ratio is 1 without memorisation. `copies` is the share of generated rows that equal a real training row bit by bit.
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("generated", "heldout", "real", "pool", "features")
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "nearest_ratio": MetricInfo("memorisation", "distance ratio", None, "Meehan et al. 2020"),
        "copies": MetricInfo("memorisation", "share of rows", False, "Carlini et al. 2021"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        generated, heldout, real = (inputs.features(rows)["features"] for rows in (inputs.generated, inputs.heldout, inputs.real))
        training_rows = set(inputs.pool.row_digests())
        copies = [digest in training_rows for digest in inputs.generated.only(inputs.pool.columns).row_digests()]
        to_real, to_heldout = (np.maximum(nearest_distance(generated, rows), 1e-12) for rows in (real, heldout))
        return {"nearest_ratio": float(np.median(to_real / to_heldout)), "copies": float(np.mean(copies))}
