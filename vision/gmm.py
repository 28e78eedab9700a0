"""`gmm`: a mixture of Gaussians on the principal components of images; no gradients, a fit in well under a second."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from safetensors.numpy import load_file, save_file
from sklearn.decomposition import PCA
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

from ..common.components.generator import FitResult
from ..common.core.pool import Pool
from ..common.core.random_streams import derive, stream
from .labels import labelled
from .pixels import from_unit, to_unit
from .watermark import Pattern, marked

CHUNK = 512
"""Images drawn at once. A constant, and short chunks are filled up: an image's bits never depend on its company."""


@dataclass(frozen=True)
class Sampling:
    """`variance_scale` (lambda) multiplies the covariance of every component; below 1, samples crowd around the centres."""

    variance_scale: Annotated[float, Field(ge=0)] = 1.0
    watermark: Pattern | None = None
    """A keyed pattern that is added to every image."""


@dataclass
class GMM:
    """A mixture of `components` Gaussians on the first `dimensions` principal components (one component: a PCA-Gaussian).

    Fitted by expectation maximisation anew each time, so there is nothing that `init: previous` could start from; what the
    principal components leave out is not made. A fit, however many iterations it needs, counts as one step over all images.
    Where rows have labels, every class has a mixture of its own.
    """

    components: Annotated[int, Field(ge=1)] = 10
    dimensions: Annotated[int, Field(ge=1)] = 20
    iterations: Annotated[int, Field(ge=1)] = 100
    """At most so many iterations of EM."""
    sampling: Sampling = field(default_factory=Sampling)
    version: ClassVar[int] = 2
    modality: ClassVar[str] = "vision"
    columns: ClassVar[tuple[str, ...]] = ("image",)
    conditional: ClassVar[bool] = True
    classes: ClassVar[int] = 0

    def __post_init__(self) -> None:
        self._arrays: dict[str, np.ndarray] = {}

    def fit(self, pool: Pool, *, seed: int, scratch: Path, fresh: bool = False) -> FitResult:
        images = pool.array("image")
        x = to_unit(images).reshape(len(images), -1).astype(np.float64)
        labels = pool.array("label") if "label" in pool else np.zeros(len(x), dtype=np.int64)
        known = max(self.classes, len(self._arrays["class_shares"]) if self._arrays else 0)
        pca = PCA(min(self.dimensions, *x.shape), svd_solver="full")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # the share of explained variance of images that are all equal
            z = pca.fit_transform(x)
        fits = {int(label): self._fit(z[labels == label], seed=derive(seed, "gmm", int(label))) for label in np.unique(labels)}
        shares = np.bincount(labels, minlength=known) / len(labels)
        self._shape = images.shape[1:]
        self._arrays = {
            "centre": pca.mean_,
            "basis": pca.components_,  # [dimensions, pixels]
            "class_shares": shares if "label" in pool else shares[:0],
            "classes": np.concatenate([[label] * fit.n_components for label, fit in fits.items()]),  # of each component
            "weights": np.concatenate([shares[label] * fit.weights_ for label, fit in fits.items()]),
            "means": np.concatenate([fit.means_ for fit in fits.values()]),  # [components, dimensions]
            "roots": np.concatenate(
                [np.linalg.cholesky(fit.covariances_) for fit in fits.values()]
            ),  # [components, dimensions, dimensions]
        }
        stats = {
            "log_likelihood": float(sum(shares[label] * fit.lower_bound_ for label, fit in fits.items())),
            "converged": float(np.mean([fit.converged_ for fit in fits.values()])),
        }
        return FitResult.closed_form("images", len(x), stats=stats)

    def _fit(self, z: np.ndarray, *, seed: int) -> GaussianMixture:
        """A mixture fitted to rows z [n, dimensions]; one row alone counts twice, as no variance can be had from one."""
        mixture = GaussianMixture(min(self.components, len(z)), max_iter=self.iterations, reg_covar=1e-4, random_state=seed % 2**32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # told by the figures; a collapsed pool has few points
            return mixture.fit(np.resize(z, (max(2, len(z)), z.shape[1])))

    def sample(self, n: int, *, seed: int, given: Pool | None = None) -> Pool:
        found, chunks, labels = self._arrays, [], []
        for start in range(0, n, CHUNK):
            rng = stream(seed, "chunk", start)
            component = rng.choice(len(found["weights"]), size=CHUNK, p=found["weights"] / found["weights"].sum())
            noise = np.sqrt(self.sampling.variance_scale) * rng.standard_normal((CHUNK, found["means"].shape[1]))
            z = found["means"][component] + np.einsum("nij,nj->ni", found["roots"][component], noise)
            chunks.append(from_unit(found["centre"] + z @ found["basis"]).reshape(CHUNK, *self._shape))
            labels.append(found["classes"][component])
        images = marked(np.concatenate(chunks)[:n], self.sampling.watermark)
        return labelled(images, np.concatenate(labels)[:n] if len(found["class_shares"]) else None)

    def detect(self, pool: Pool) -> np.ndarray:
        """z of the keyed pattern of `sampling` in each image, float64 [n]."""
        return self.sampling.watermark.z(pool.array("image"))

    def save(self, folder: Path) -> None:
        (folder / "shape.json").write_text(json.dumps(self._shape))
        save_file({name: np.ascontiguousarray(values) for name, values in self._arrays.items()}, folder / "gmm.safetensors")

    def load(self, folder: Path) -> None:
        self._shape = tuple(json.loads((folder / "shape.json").read_text()))
        self._arrays = load_file(folder / "gmm.safetensors")
