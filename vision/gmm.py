"""The generator `gmm`, a mixture of Gaussians on principal components of images. A fit takes under a second, without gradients."""

from __future__ import annotations

import json
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field
from safetensors.numpy import load_file, save_file

from ..common.components.generator import FitResult
from ..common.core.pool import Pool
from ..common.core.random_streams import derive
from .chunks import sample_in_chunks
from .pixels import from_unit, to_unit
from .watermark import Pattern, detect_pattern

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

CHUNK = 512
"""Number of images per chunk in sampling."""


@dataclass(frozen=True)
class Sampling:
    """Sampling settings of `gmm`."""

    variance_scale: Annotated[float, Field(ge=0)] = 1.0
    """Factor lambda for the covariance of every component. Below 1, samples concentrate near the component means."""
    watermark: Pattern | None = None
    """Watermark (a keyed pattern) that is added to every generated image. None: no watermark."""


@dataclass(frozen=True)
class Mixture:
    """A fitted mixture with k components over all classes, in d dimensions. The saved arrays have the names of these fields."""

    centre: np.ndarray
    """Mean image, [pixels]."""
    basis: np.ndarray
    """Principal components, [d, pixels]."""
    class_shares: np.ndarray
    """Share of each class in the training pool, [classes]. Empty if the pool had no labels."""
    classes: np.ndarray
    """The class of each component, [k]."""
    weights: np.ndarray
    """Weight of each component, [k]."""
    means: np.ndarray
    """Mean of each component, [k, d]."""
    roots: np.ndarray
    """Cholesky factor of each covariance matrix, [k, d, d]."""


@dataclass
class GMM:
    """A mixture of Gaussians (GMM) on the first principal components of images.

    If rows have labels, each class has its own mixture of `components` Gaussians. Variation outside the principal components is not
    generated. With one component, the model is a Gaussian on principal components.

    Each fit starts expectation maximisation from new initial values, so `init: previous` has no effect. For the training budget, a fit
    counts as one step over all images, regardless of its number of iterations.
    """

    components: Annotated[int, Field(ge=1)] = 10
    """Number of Gaussians per class. If a class has fewer training rows, it gets one Gaussian per row."""
    dimensions: Annotated[int, Field(ge=1)] = 20
    """Number of principal components."""
    iterations: Annotated[int, Field(ge=1)] = 100
    """Maximum number of iterations of expectation maximisation."""
    sampling: Sampling = field(default_factory=Sampling)
    version: ClassVar[int] = 2
    modality: ClassVar[str] = "vision"
    columns: ClassVar[tuple[str, ...]] = ("image",)
    conditional: ClassVar[bool] = True
    classes: ClassVar[int] = 0

    def __post_init__(self) -> None:
        self._mixture: Mixture | None = None
        self._image_shape: tuple[int, ...] = ()  # height, width, channels

    @property
    def mixture(self) -> Mixture:
        """The fitted mixture. Set by `fit` and `load`."""
        if self._mixture is None:
            raise ValueError("this model has no mixture yet; call `fit` or `load` first")
        return self._mixture

    def fit(self, pool: Pool, *, seed: int, scratch: Path, fresh: bool = False) -> FitResult:
        from sklearn.decomposition import PCA

        images = pool.array("image")
        x = to_unit(images).reshape(len(images), -1).astype(np.float64)
        labels = pool.array("label") if "label" in pool else np.zeros(len(x), dtype=np.int64)
        classes = max(self.classes, len(self._mixture.class_shares) if self._mixture else 0)
        pca = PCA(min(self.dimensions, *x.shape), svd_solver="full")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # for equal images, the unused explained variance ratio is 0 / 0
            z = pca.fit_transform(x)
        fits = {int(label): self._fit_class(z[labels == label], seed=derive(seed, "gmm", int(label))) for label in np.unique(labels)}
        shares = np.bincount(labels, minlength=classes) / len(labels)
        self._image_shape = images.shape[1:]
        self._mixture = Mixture(
            centre=pca.mean_,
            basis=pca.components_,
            class_shares=shares if "label" in pool else shares[:0],
            classes=np.concatenate([[label] * fit.n_components for label, fit in fits.items()]),
            weights=np.concatenate([shares[label] * fit.weights_ for label, fit in fits.items()]),
            means=np.concatenate([fit.means_ for fit in fits.values()]),
            roots=np.concatenate([np.linalg.cholesky(fit.covariances_) for fit in fits.values()]),
        )
        stats = {
            "log_likelihood": float(sum(shares[label] * fit.lower_bound_ for label, fit in fits.items())),
            "converged": float(np.mean([fit.converged_ for fit in fits.values()])),
        }
        return FitResult.closed_form("images", len(x), stats=stats)

    def _fit_class(self, z: np.ndarray, *, seed: int) -> GaussianMixture:
        """Fit a mixture to the rows of one class, z [n, d]. A single row is duplicated, because scikit-learn needs two rows."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.mixture import GaussianMixture

        mixture = GaussianMixture(min(self.components, len(z)), max_iter=self.iterations, reg_covar=1e-4, random_state=seed % 2**32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)  # collapsed pools have few points; `converged` in `stats` reports it
            return mixture.fit(np.resize(z, (max(2, len(z)), z.shape[1])))

    def sample(self, n: int, *, seed: int, given: Pool | None = None) -> Pool:
        return sample_in_chunks(self._draw_chunk, n, size=CHUNK, seed=seed, watermark=self.sampling.watermark)

    def _draw_chunk(self, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray | None]:
        """Draw one chunk. Returns images, uint8 [CHUNK, h, w, c], and labels, int64 [CHUNK] or None."""
        mixture = self.mixture
        component = rng.choice(len(mixture.weights), size=CHUNK, p=mixture.weights / mixture.weights.sum())
        noise = np.sqrt(self.sampling.variance_scale) * rng.standard_normal((CHUNK, mixture.means.shape[1]))
        z = mixture.means[component] + np.einsum("nij,nj->ni", mixture.roots[component], noise)
        images = from_unit(mixture.centre + z @ mixture.basis).reshape(CHUNK, *self._image_shape)
        return images, mixture.classes[component] if len(mixture.class_shares) else None

    def detect(self, pool: Pool) -> np.ndarray:
        """Return the z-score of the watermark in `sampling` for each image, float64 [n]."""
        return detect_pattern(pool, self.sampling.watermark)

    def save(self, folder: Path) -> None:
        (folder / "shape.json").write_text(json.dumps(self._image_shape))
        save_file({name: np.ascontiguousarray(values) for name, values in vars(self.mixture).items()}, folder / "gmm.safetensors")

    def load(self, folder: Path) -> None:
        self._image_shape = tuple(json.loads((folder / "shape.json").read_text()))
        self._mixture = Mixture(**load_file(folder / "gmm.safetensors"))
