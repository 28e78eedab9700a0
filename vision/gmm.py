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

from ..common.generator import Fitted
from ..common.pool import Pool
from ..common.seeds import derive, stream
from .pixels import from_unit, to_unit

CHUNK = 512
"""Images drawn at once. A constant, and short chunks are filled up: an image's bits never depend on its company."""


@dataclass(frozen=True)
class Sampling:
    """`scale` (lambda) multiplies the covariance of every component; below 1, samples crowd around the centres."""

    scale: Annotated[float, Field(ge=0)] = 1.0


@dataclass
class GMM:
    """A mixture of `components` Gaussians on the first `dimensions` principal components (one component: a PCA-Gaussian).

    Fitted by expectation maximisation anew each time, so there is nothing that `init: previous` could start from; what the
    principal components leave out is not made. A fit, however many iterations it needs, counts as one step over all images.
    """

    components: Annotated[int, Field(ge=1)] = 10
    dimensions: Annotated[int, Field(ge=1)] = 20
    iterations: Annotated[int, Field(ge=1)] = 100
    """At most so many iterations of EM."""
    sampling: Sampling = field(default_factory=Sampling)
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "vision"
    columns: ClassVar[tuple[str, ...]] = ("image",)

    def fit(self, pool: Pool, *, seed: int, scratch: Path, fresh: bool = False) -> Fitted:
        images = pool.array("image")
        x = to_unit(images).reshape(len(images), -1).astype(np.float64)
        pca = PCA(min(self.dimensions, *x.shape), svd_solver="full")
        mixture = GaussianMixture(
            min(self.components, len(x)), max_iter=self.iterations, reg_covar=1e-4, random_state=derive(seed, "gmm") % 2**32
        )  # fmt: skip
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # told by the figure below; a collapsed pool has few points
            warnings.simplefilter("ignore", RuntimeWarning)  # the share of explained variance of images that are all equal
            mixture.fit(pca.fit_transform(x))
        self._shape = images.shape[1:]
        self._arrays = {
            "centre": pca.mean_,
            "basis": pca.components_,  # [dimensions, pixels]
            "weights": mixture.weights_,
            "means": mixture.means_,  # [components, dimensions]
            "roots": np.linalg.cholesky(mixture.covariances_),  # [components, dimensions, dimensions]
        }
        figures = {"log_likelihood": float(mixture.lower_bound_), "converged": float(mixture.converged_)}
        return Fitted.once("images", len(x), figures=figures)

    def sample(self, n: int, *, seed: int, given: Pool | None = None) -> Pool:
        found, chunks = self._arrays, []
        for start in range(0, n, CHUNK):
            rng = stream(seed, "chunk", start)
            component = rng.choice(len(found["weights"]), size=CHUNK, p=found["weights"] / found["weights"].sum())
            noise = np.sqrt(self.sampling.scale) * rng.standard_normal((CHUNK, found["means"].shape[1]))
            z = found["means"][component] + np.einsum("nij,nj->ni", found["roots"][component], noise)
            chunks.append(from_unit(found["centre"] + z @ found["basis"]).reshape(CHUNK, *self._shape))
        return Pool.of(image=np.concatenate(chunks)[:n])

    def save(self, folder: Path) -> None:
        (folder / "shape.json").write_text(json.dumps(self._shape))
        save_file({name: np.ascontiguousarray(values) for name, values in self._arrays.items()}, folder / "gmm.safetensors")

    def load(self, folder: Path) -> None:
        self._shape = tuple(json.loads((folder / "shape.json").read_text()))
        self._arrays = load_file(folder / "gmm.safetensors")
