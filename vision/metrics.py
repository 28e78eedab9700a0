"""What is read off generated images, beside the feature-space metrics of `common`."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from scipy.ndimage import laplace
from scipy.special import rel_entr

from ..common.components.frequency_bins import FREQUENCY, by_frequency
from ..common.components.metric import MetricInfo, MetricInputs
from ..common.core.errors import UserError
from ..common.core.pool import Pool
from ..common.core.random_streams import stream

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""How much each scale counts, the finest first (Wang et al. 2003, sec. 3.2)."""
WINDOW, SIGMA = 11, 1.5
"""Side and standard deviation of the Gaussian window in which two images are compared, in pixels (Wang et al. 2004)."""

CHUNK = 20
"""Pairs compared at once."""


@dataclass(frozen=True)
class Classes:
    """Which classes the made images show, as the feature model's classifier sees them.

    Every image counts for its likeliest class. The entropy of the class shares is ln(classes) when all are equally common; it
    falls as classes vanish.
    """

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("image",)
    reads: ClassVar[tuple[str, ...]] = ("generated", "features")
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "class_entropy": MetricInfo("diversity", "nats", True, "Salimans et al. 2016"),
        "class_share": MetricInfo("tail", "share of images", None, "Alemohammad et al. 2024"),
        "rarest_class_share": MetricInfo("tail", "share of images", True, "Alemohammad et al. 2024"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        seen = likeliest(inputs, inputs.generated, metric="classes")
        shares = np.bincount(seen, minlength=inputs.features(inputs.generated)["probabilities"].shape[1]) / len(seen)
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
    reads: ClassVar[tuple[str, ...]] = ("generated", "real", "features")
    outputs: ClassVar[Mapping[str, MetricInfo]] = FREQUENCY

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        real, generated = (Counter(likeliest(inputs, pool, metric="class-frequency").tolist()) for pool in (inputs.real, inputs.generated))
        return by_frequency(real, generated, by_mass=False)


def likeliest(inputs: MetricInputs, pool: Pool, *, metric: str) -> np.ndarray:
    """The likeliest class of each image, int64 [n]; UserError if the feature model knows none."""
    return probabilities(inputs, pool, metric=metric).argmax(1)


def probabilities(inputs: MetricInputs, pool: Pool, *, metric: str) -> np.ndarray:
    """The probability of each class for each image, float32 [n, classes]; UserError if the feature model knows none."""
    found = inputs.features(pool)
    if "probabilities" not in found:
        raise UserError(f"metrics: '{metric}' needs a feature model that knows classes; use features=classifier or leave it out")
    return found["probabilities"]


@dataclass(frozen=True)
class PixelVariance:
    """Variance of a pixel over the images, averaged over pixels and channels; grey levels 0 to 1. 0 when all images are equal."""

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("image",)
    reads: ClassVar[tuple[str, ...]] = ("generated",)
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "pixel_variance": MetricInfo("diversity", "squared grey level (0 to 1)", True, "Bertrand et al. 2024"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        images = inputs.generated.array("image").astype(np.float64) / 255
        return {"pixel_variance": images.var(axis=0).mean()}


@dataclass(frozen=True)
class InceptionScore:
    """How sure the feature model's classifier is of each made image, and of how many classes: exp(mean KL(p(y|x) || p(y))).

    1 ... classes; with Inception's own thousand classes it is the Inception score, on all rows at once. It does not look at real
    rows: one perfect image a class scores best, whatever else is lost (Barratt & Sharma 2018).
    """

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("image",)
    reads: ClassVar[tuple[str, ...]] = ("generated", "features")
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "classifier_score": MetricInfo("fidelity", "classes in effect", True, "Salimans et al. 2016; Barratt & Sharma 2018"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        given_image = probabilities(inputs, inputs.generated, metric="inception-score").astype(np.float64)
        return {"classifier_score": np.exp(rel_entr(given_image, given_image.mean(axis=0)).sum(axis=1).mean())}


@dataclass(frozen=True)
class StudentClassifier:
    """Train on synthetic, test on real: how well real images are told apart by a classifier that learned from made ones alone.

    The classification accuracy score with logistic regression on standardised pixels as the classifier. Where generators make labels
    (`labels: conditional`) those are what it learns; elsewhere, and for the floor there, the feature model's classifier labels the
    images, so that its mistakes fall on both.
    """

    iterations: Annotated[int, Field(ge=1)] = 200
    """At most so many steps of the optimizer; stopping there is no fault."""
    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("image",)
    reads: ClassVar[tuple[str, ...]] = ("generated", "heldout", "real", "features")
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "student_accuracy": MetricInfo("fidelity", "share of held-out images", True, "Ravuri & Vinyals 2019"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        if "label" not in inputs.heldout:
            raise UserError("metrics: 'student-classifier' is tested on labelled images, this data has no labels; leave it out")
        generated, heldout = inputs.generated, inputs.heldout
        # control rows always have labels; what generators learn from tells whether made rows have
        labels = generated.array("label") if "label" in inputs.real else likeliest(inputs, generated, metric="student-classifier")
        guesses = self._learned(_flat(generated), labels, _flat(heldout))
        return {"student_accuracy": (guesses == heldout.array("label")).mean()}

    def _learned(self, images: np.ndarray, labels: np.ndarray, asked: np.ndarray) -> np.ndarray:
        """What a student of `images` [n, d] takes the `asked` [m, d] for: labels [m]."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        if len(np.unique(labels)) == 1:  # there is nothing to tell apart
            return np.full(len(asked), labels[0])
        student = make_pipeline(StandardScaler(), LogisticRegression(max_iter=self.iterations))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return student.fit(images, labels).predict(asked)


@dataclass(frozen=True)
class MultiscaleSimilarity:
    """How alike made images are among themselves: the mean multi-scale structural similarity of pairs, computed by torchmetrics.

    1 where all are equal; a pair that is negatively alike at some scale counts as 0. There are as many of Wang's five scales as leave
    every one as wide as the Gaussian window (28 and 32 pixels: 2); in an image smaller than that window it shrinks to the largest
    odd side that fits, at a single scale (8 pixels: 7). So values compare between images of one size only.
    """

    pairs: Annotated[int, Field(ge=1)] = 200
    """All pairs are taken if there are no more than this, else so many of them at random: their number is quadratic in the rows."""
    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("image",)
    reads: ClassVar[tuple[str, ...]] = ("generated",)
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "ms_ssim": MetricInfo("diversity", "similarity of pairs, 0 to 1", False, "Wang et al. 2003; Odena et al. 2017"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        images, n = inputs.generated.array("image"), len(inputs.generated)
        if n < 2:
            raise UserError(f"metrics: 'ms-ssim' compares images in pairs, got {n}")
        every = n * (n - 1) // 2
        # a stream of its own whose name holds nothing but the number of rows: the same rows give the same pairs
        pair = stream(0, "ms-ssim", n).choice(every, size=min(every, self.pairs), replace=False)
        second = ((1 + np.sqrt(1 + 8 * pair)) // 2).astype(np.int64)  # pairs are numbered (0, 1), (0, 2), (1, 2), (0, 3), ...
        first = pair - second * (second - 1) // 2
        chunks = (slice(start, start + CHUNK) for start in range(0, len(pair), CHUNK))
        found = np.concatenate([_similarity(images[first[some]], images[second[some]]) for some in chunks])
        return {"ms_ssim": found.mean(dtype=np.float64)}


def _similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Multi-scale structural similarity of pairs of images, uint8 [n, h, w, c] twice: float32 [n]."""
    import torch
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    planes = [torch.from_numpy(images.astype(np.float32) / 255).permute(0, 3, 1, 2) for images in (a, b)]
    weights, window = scales(min(a.shape[1:3]))
    options = {"betas": weights, "kernel_size": window, "sigma": SIGMA * window / WINDOW, "data_range": 1.0, "normalize": "relu"}
    return multiscale_structural_similarity_index_measure(*planes, **options, reduction="none").numpy()


def scales(side: int) -> tuple[tuple[float, ...], int]:
    """Weights of the scales, which sum to 1, and the window's side in pixels, for images of so many pixels on their shorter side."""
    # each scale halves the image; torchmetrics, which asks for the square instead, is stricter about the fourth
    fit = [n for n in range(1, 6) if side // max(2 ** (n - 1), (n - 1) ** 2) >= WINDOW]
    weights = np.array(SCALE_WEIGHTS[: max(fit, default=1)])
    return tuple((weights / weights.sum()).tolist()), min(WINDOW, side - 1 + side % 2)


@dataclass(frozen=True)
class Sharpness:
    """Variance of the Laplacian over an image's pixels, mean over images: little of it is blur, much of it edges or noise.

    Noise is sharper than anything real, so neither direction is better: read it against its floor. Colours are averaged to
    grey levels 0 to 1; borders are mirrored.
    """

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("image",)
    reads: ClassVar[tuple[str, ...]] = ("generated",)
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "sharpness": MetricInfo("fidelity", "squared grey level (0 to 1)", None, "Pech-Pacheco et al. 2000"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        grey = inputs.generated.array("image").mean(axis=-1) / 255
        return {"sharpness": np.mean([laplace(image, mode="reflect").var() for image in grey])}


def _flat(pool: Pool) -> np.ndarray:
    """Images as rows of pixels, float64 [n, h * w * c], grey levels 0 to 1."""
    return pool.array("image").reshape(len(pool), -1).astype(np.float64) / 255
