"""Metrics: what is read off a generation, and what each number means."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal, Protocol

import numpy as np
from pydantic import Field
from scipy.stats import rankdata

from .features import density_coverage, effective_rank, frechet_distance, kernel_distance, mauve, nearest, precision_recall, vendi_score

Axis = Literal["fidelity", "diversity", "tail", "memorisation", "likelihood", "mixture", "cost"]


@dataclass(frozen=True)
class MetricInfo:
    """What a number means."""

    axis: Axis
    unit: str
    higher_is_better: bool | None
    """None where neither is better, as for the share of one class."""
    source: str


class MetricInputs:
    """What a metric or a curation is shown: only what it says it `reads`, so that its key names only that.

    made       what the generation made: `eval_size` rows of it
    heldout    real rows that nothing was ever trained on: `eval_size` rows
    real       the real training pool of the chain: `eval_size` rows of it
    pool       the real training pool of the chain, whole
    model      the generation's model, loaded
    first      generation 0's model, loaded
    base       the model that fine-tuning starts from (generation 0's model where there is none), loaded
    features   `features(pool)` gives the arrays of the feature model for a pool
    """

    def __init__(self, reader: str, parts: Mapping[str, Callable[[], Any]]):
        self._reader, self._parts, self._found = reader, parts, {}

    def __getattr__(self, name: str) -> Any:
        if name not in self._parts:
            raise AttributeError(f"{self._reader} may not look at '{name}': its `reads` names {sorted(self._parts)}")
        if name not in self._found:
            self._found[name] = self._parts[name]()
        return self._found[name]


class Metric(Protocol):
    """Numbers about one generation. A dataclass; `measures` explains every number it returns.

    A name with a slash (`class_share/3`) is explained under the part before it. The loop calls the metric once more with
    real control rows as `made` and generation 0's model as `model`: that is the *floor* of its numbers.
    """

    version: ClassVar[int]
    reads: ClassVar[tuple[str, ...]]
    outputs: ClassVar[Mapping[str, MetricInfo]]
    columns: ClassVar[tuple[str, ...]] = ()
    """Data columns it looks at; it is refused where the generator makes none of them."""
    abilities: ClassVar[tuple[str, ...]] = ()
    """What a generator must have for it: methods, such as `score`, or what it has learned, such as `mean`."""

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]: ...


def info_of(metric: Any, name: str) -> MetricInfo:
    """The meaning of one of a metric's numbers."""
    return metric.outputs[name.partition("/")[0]]


@dataclass(frozen=True)
class Frechet:
    """Frechet distance between Gaussians fitted to the features of made and of held-out rows (Heusel et al. 2017, eq. 6).

    With Inception features this is FID. It is biased upwards at small n: read it against its floor.
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
    """Improved precision and recall in feature space (Kynkaanniemi et al. 2019, eq. 1 and 2), k nearest neighbours.

    Precision: the share of made rows inside the held-out rows' manifold. Recall: the share of held-out rows inside the
    made rows' manifold; it falls as diversity is lost.
    """

    k: Annotated[int, Field(ge=1)] = 3
    max_rows: Annotated[int, Field(ge=2)] = 4000
    """Rows compared, the first ones; the cost grows with its square. Rows of numbers say how many it was."""
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
    """Kernel distance between the features of made and of held-out rows (Binkowski et al. 2018); with Inception features, KID.

    Unlike the Frechet distance it is not biased by the number of rows, and sees more than two moments.
    """

    max_rows: Annotated[int, Field(ge=2)] = 4000
    """Rows compared, the first ones; the cost grows with its square. Rows of numbers say how many it was."""
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("generated", "heldout", "features")
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "kernel_distance": MetricInfo("fidelity", "squared kernel distance", False, "Binkowski et al. 2018"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        return {"kernel_distance": kernel_distance(*_features(inputs, self.max_rows))}


@dataclass(frozen=True)
class DensityCoverage:
    """Density and coverage in feature space (Naeem et al. 2020), k nearest neighbours.

    Density is no score: real rows give about 1, and rows that crowd in the middle of the data, where many balls overlap, far more.
    """

    k: Annotated[int, Field(ge=1)] = 5
    max_rows: Annotated[int, Field(ge=2)] = 4000
    """Rows compared, the first ones; the cost grows with its square. Rows of numbers say how many it was."""
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
    """MAUVE between the features of made and of held-out rows (Pillutla et al. 2021): what is made only and what is real only, in one.

    Both sets fall into the same k-means `clusters`, a tenth of the rows where none are given, at most 500. With few rows to a cluster
    real rows differ too, so it stays below 1: read it against its floor, and compare it at the same number of rows and of clusters.
    """

    clusters: Annotated[int, Field(ge=2)] | None = None
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("generated", "heldout", "features")
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "mauve": MetricInfo("fidelity", "area under the divergence curve, 0 to 1", True, "Pillutla et al. 2021"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        return {"mauve": mauve(*_features(inputs), clusters=self.clusters)}


@dataclass(frozen=True)
class Vendi:
    """How varied made rows are among themselves: Vendi score and effective rank of their features. No real row is looked at."""

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("generated", "features")
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "vendi_score": MetricInfo("diversity", "different rows in effect", True, "Friedman & Dieng 2023"),
        "effective_rank": MetricInfo("diversity", "directions in effect", True, "Roy & Vetterli 2007"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        found = inputs.features(inputs.generated)["features"]
        return {"vendi_score": vendi_score(found), "effective_rank": effective_rank(found)}


@dataclass(frozen=True)
class Memorisation:
    """Whether made rows lie nearer to rows the chain was trained on than to real rows it never saw.

    `nearest_ratio`: median over made rows of the distance to the nearest real training row over that to the nearest held-out one, as many
    of each; 1 where nothing is memorised (Meehan et al. 2020 test the same two distances). `copies`: made rows that equal one
    of the real pool to the last bit.
    """

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("generated", "heldout", "real", "pool", "features")
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "nearest_ratio": MetricInfo("memorisation", "distance ratio", None, "Meehan et al. 2020"),
        "copies": MetricInfo("memorisation", "share of rows", False, "Carlini et al. 2021"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        generated, heldout, real = (inputs.features(rows)["features"] for rows in (inputs.generated, inputs.heldout, inputs.real))
        known = set(inputs.pool.row_digests())
        copies = [digest in known for digest in inputs.generated.only(inputs.pool.columns).row_digests()]
        ratio = np.median(np.maximum(nearest(generated, real), 1e-12) / np.maximum(nearest(generated, heldout), 1e-12))
        return {"nearest_ratio": ratio, "copies": np.mean(copies)}


@dataclass(frozen=True)
class HeldOutScore:
    """What the model says of real rows it never saw, in nats a row: an exact likelihood or, for a VAE, a bound on it."""

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("model", "heldout")
    abilities: ClassVar[tuple[str, ...]] = ("score",)
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "heldout_nats": MetricInfo("likelihood", "nats per row", False, "Kingma & Welling 2014"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        return {"heldout_nats": inputs.model.score(inputs.heldout).mean()}


def alarm_threshold(z: np.ndarray, false_positives: float) -> float:
    """The z above which so large a share of unmarked rows is flagged, at most; z float64 [n] of unmarked rows."""
    return float(np.quantile(z, 1 - false_positives, method="higher"))


def _features(inputs: MetricInputs, max_rows: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Features of made and of held-out rows."""
    generated, heldout = (inputs.features(pool)["features"][:max_rows] for pool in (inputs.generated, inputs.heldout))
    return generated, heldout


@dataclass(frozen=True)
class Watermarked:
    """What the generator's watermark detector finds in made and in real rows, at the threshold of `false_positives`.

    The threshold is set on real training rows; the real rows it is then tried on are others, the held-out ones. The curve of
    detection against false alarms is summed up by its area (Fawcett 2006): 1 tells the two apart always, 0.5 never.
    """

    false_positives: Annotated[float, Field(gt=0, lt=1)] = 0.01
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
        generated, heldout, real = (inputs.model.detect(pool.bare()) for pool in (inputs.generated, inputs.heldout, inputs.real))
        threshold = alarm_threshold(real, self.false_positives)
        ranks = rankdata(np.concatenate([generated, heldout]))[: len(generated)]  # the Mann-Whitney form of the area
        return {
            "watermark_detected": (generated > threshold).mean(),
            "watermark_false_alarms": (heldout > threshold).mean(),
            "watermark_auc": (ranks.mean() - (len(generated) + 1) / 2) / len(heldout),
            "watermark_z": generated.mean(),
        }
