"""Metrics for images: class shares, pixel variance, structural similarity, sharpness and train-synthetic-test-real accuracy.

Metrics that compare features, such as the Frechet distance, are in `common`.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from ..common.components.frequency_bins import FREQUENCY, by_frequency
from ..common.components.metric import MetricInfo, MetricInputs
from ..common.core.errors import UserError
from ..common.core.pool import Pool
from ..common.core.random_streams import stream
from .pixels import flat_grey_levels

SCALE_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the scales in MS-SSIM, from the finest to the coarsest scale (Wang et al. 2003, sec. 3.2)."""
WINDOW, SIGMA = 11, 1.5
"""Side and standard deviation of the Gaussian window in MS-SSIM, in pixels (Wang et al. 2004)."""

CHUNK = 20
"""Number of image pairs per batch in MS-SSIM."""


@dataclass(frozen=True)
class Classes:
    """Class shares of generated images and their entropy, with classes assigned by the feature model.

    Each image is assigned to its most likely class. The entropy has its maximum, ln(number of classes), if all classes are equally
    common. It decreases when classes vanish.
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
        labels = predicted_labels(inputs, inputs.generated, metric="classes")
        shares = np.bincount(labels, minlength=inputs.features(inputs.generated)["probabilities"].shape[1]) / len(labels)
        positive = shares[shares > 0]
        return {
            "class_entropy": float(-(positive * np.log(positive)).sum()),
            "rarest_class_share": shares.min(),
            **{f"class_share/{number}": share for number, share in enumerate(shares)},
        }


@dataclass(frozen=True)
class ClassFrequency:
    """Frequency of common and rare classes in generated images, relative to real images. Group 01: most common classes; 10: rarest.

    The feature model assigns the classes of both real and generated images, so that its errors affect both.
    """

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("image",)
    reads: ClassVar[tuple[str, ...]] = ("generated", "real", "features")
    outputs: ClassVar[Mapping[str, MetricInfo]] = FREQUENCY

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        real, generated = (
            Counter(predicted_labels(inputs, pool, metric="class-frequency").tolist()) for pool in (inputs.real, inputs.generated)
        )
        return by_frequency(real, generated, by_mass=False)


def predicted_labels(inputs: MetricInputs, pool: Pool, *, metric: str) -> np.ndarray:
    """Return the most likely class of each image, int64 [n]. Raises UserError if the feature model gives no probabilities."""
    return class_probabilities(inputs, pool, metric=metric).argmax(1)


def class_probabilities(inputs: MetricInputs, pool: Pool, *, metric: str) -> np.ndarray:
    """Return class probabilities of each image, float32 [n, classes]. Raises UserError if the feature model gives no probabilities."""
    outputs = inputs.features(pool)
    if "probabilities" not in outputs:
        raise UserError(f"metrics: '{metric}' needs a feature model that gives class probabilities; use features=classifier or remove it")
    return outputs["probabilities"]


@dataclass(frozen=True)
class PixelVariance:
    """Variance of each pixel over generated images, averaged over pixels and channels. The value is 0 if all images are equal."""

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
    """Inception score with the classes of the feature model: exp(mean KL(p(y|x) || p(y))) over generated images x and classes y.

    The score lies between 1 and the number of classes. It is computed on all rows at once. The original score uses the thousand classes
    of Inception. The score does not use real rows: one perfect image per class gives the best score, even if all other variation is
    lost (Barratt & Sharma 2018).
    """

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("image",)
    reads: ClassVar[tuple[str, ...]] = ("generated", "features")
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "classifier_score": MetricInfo("fidelity", "classes in effect", True, "Salimans et al. 2016; Barratt & Sharma 2018"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        from scipy.special import rel_entr

        per_image = class_probabilities(inputs, inputs.generated, metric="inception-score").astype(np.float64)  # p(y|x), [n, classes]
        return {"classifier_score": np.exp(rel_entr(per_image, per_image.mean(axis=0)).sum(axis=1).mean())}


@dataclass(frozen=True)
class TrainSyntheticTestReal:
    """Train on synthetic, test on real (TSTR): accuracy on real images, for a classifier trained only on generated images.

    This is the classification accuracy score (Ravuri & Vinyals 2019) with logistic regression on standardised pixels. With
    `labels: conditional`, the classifier learns the generated labels. Otherwise the feature model labels the training images of the
    classifier. It also labels them for the floor (the metric between real splits), so that its errors affect both values.
    """

    iterations: Annotated[int, Field(ge=1)] = 200
    """Maximum number of optimizer steps. The classifier may stop before it converges."""
    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("image",)
    reads: ClassVar[tuple[str, ...]] = ("generated", "heldout", "real", "features")
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "student_accuracy": MetricInfo("fidelity", "share of held-out images", True, "Ravuri & Vinyals 2019"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        if "label" not in inputs.heldout:
            raise UserError("metrics: 'tstr-classifier' needs labelled images, but this data has no labels; remove the metric")
        generated, heldout = inputs.generated, inputs.heldout
        # for the floor, `generated` holds real rows with labels; so only labels in `real` show that generators learn labels
        labels = generated.array("label") if "label" in inputs.real else predicted_labels(inputs, generated, metric="tstr-classifier")
        predicted = self._train_and_predict(flat_grey_levels(generated), labels, flat_grey_levels(heldout))
        return {"student_accuracy": (predicted == heldout.array("label")).mean()}

    def _train_and_predict(self, images: np.ndarray, labels: np.ndarray, test_images: np.ndarray) -> np.ndarray:
        """Train a classifier on `images` [n, d] with `labels` [n]. Returns its predictions [m] for `test_images` [m, d]."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        if len(np.unique(labels)) == 1:  # logistic regression needs two classes
            return np.full(len(test_images), labels[0])
        classifier = make_pipeline(StandardScaler(), LogisticRegression(max_iter=self.iterations))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            return classifier.fit(images, labels).predict(test_images)


@dataclass(frozen=True)
class MultiscaleSimilarity:
    """Multi-scale structural similarity (MS-SSIM) of pairs of generated images, mean over pairs. Computed by torchmetrics.

    The value is 1 if all images are equal. A pair with a negative similarity at some scale counts as 0. Each of the five scales of
    Wang et al. is used if the image at this scale is at least as wide as the Gaussian window (two scales for 28 and 32 pixels). For
    images smaller than the window, one scale is used and the window shrinks to the largest odd side that fits (7 for 8 pixels).
    Therefore compare values only between images of the same size.
    """

    pairs: Annotated[int, Field(ge=1)] = 200
    """Maximum number of pairs. They are drawn at random from all pairs, whose number is quadratic in the rows."""
    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("image",)
    reads: ClassVar[tuple[str, ...]] = ("generated",)
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "ms_ssim": MetricInfo("diversity", "similarity of pairs, 0 to 1", False, "Wang et al. 2003; Odena et al. 2017"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        images, n = inputs.generated.array("image"), len(inputs.generated)
        if n < 2:
            raise UserError(f"metrics: 'ms-ssim' compares pairs of images, so it needs at least 2 images, not {n}; increase eval_size")
        all_pairs = n * (n - 1) // 2
        # the random stream depends only on the number of rows, so that pools of equal size use the same pairs
        pair = stream(0, "ms-ssim", n).choice(all_pairs, size=min(all_pairs, self.pairs), replace=False)
        second = ((1 + np.sqrt(1 + 8 * pair)) // 2).astype(np.int64)  # pairs are numbered (0, 1), (0, 2), (1, 2), (0, 3), ...
        first = pair - second * (second - 1) // 2
        chunks = (slice(start, start + CHUNK) for start in range(0, len(pair), CHUNK))
        similarities = np.concatenate([_similarity(images[first[chunk]], images[second[chunk]]) for chunk in chunks])
        return {"ms_ssim": similarities.mean(dtype=np.float64)}


def _similarity(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Compute MS-SSIM between image i of `a` and image i of `b`, float32 [n]. `a` and `b` are uint8 [n, h, w, c]."""
    import torch
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    first, second = (torch.from_numpy(images.astype(np.float32) / 255).permute(0, 3, 1, 2) for images in (a, b))
    weights, window = scales(min(a.shape[1:3]))
    similarity = multiscale_structural_similarity_index_measure(
        first,
        second,
        kernel_size=window,
        sigma=SIGMA * window / WINDOW,
        betas=weights,
        data_range=1.0,
        normalize="relu",
        reduction="none",
    )
    return similarity.numpy()


def scales(side: int) -> tuple[tuple[float, ...], int]:
    """Return the weights of the scales (their sum is 1) and the window side. `side` is the shorter side of the images. Unit: pixels."""
    # scale n uses the image halved n - 1 times; torchmetrics also requires side // (n - 1)^2 >= WINDOW, which is stricter for n = 4
    fit = [n for n in range(1, 6) if side // max(2 ** (n - 1), (n - 1) ** 2) >= WINDOW]
    weights = np.array(SCALE_WEIGHTS[: max(fit, default=1)])
    return tuple((weights / weights.sum()).tolist()), min(WINDOW, side - 1 + side % 2)


@dataclass(frozen=True)
class Sharpness:
    """Sharpness: variance of the Laplacian over the pixels of an image, mean over generated images. Low for blur, high for edges and noise.

    Noise is sharper than real images, so neither a higher nor a lower value is better. Compare the value with the floor (the metric
    between real splits). Colours are averaged to grey levels in [0, 1]. Borders are mirrored.
    """

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("image",)
    reads: ClassVar[tuple[str, ...]] = ("generated",)
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "sharpness": MetricInfo("fidelity", "squared grey level (0 to 1)", None, "Pech-Pacheco et al. 2000"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        from scipy.ndimage import laplace

        grey = inputs.generated.array("image").mean(axis=-1) / 255
        return {"sharpness": np.mean([laplace(image, mode="reflect").var() for image in grey])}
