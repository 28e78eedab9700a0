"""Feature space: the feature-model contract, and the statistics that compare two sets of features [n, d]."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
from scipy.integrate import trapezoid
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from scipy.special import rel_entr

from ..core.errors import UserError
from ..core.pool import Pool


class Features(Protocol):
    """A fixed feature model, fitted (if it learns at all) once on real data and never on made data. A dataclass."""

    version: ClassVar[int]

    def fit(self, pool: Pool, *, seed: int, scratch: Path) -> None: ...

    def save(self, folder: Path) -> None: ...

    def load(self, folder: Path) -> None: ...

    def __call__(self, pool: Pool) -> Mapping[str, np.ndarray]:
        """`features` float32 [n, d], and whatever else it can say (a classifier: `probabilities` [n, classes])."""
        ...


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """|mu_a - mu_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) (Heusel et al. 2017, eq. 6), computed by torchmetrics.

    a, b: features [n, d] and [m, d]; n, m >= 2. Squared feature units, >= 0 up to rounding.
    """
    import torch
    from torchmetrics.image.fid import FrechetInceptionDistance

    class Given(torch.nn.Module):
        """Hands torchmetrics features that were computed (and cached) before."""

        num_features = a.shape[1]

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return features

    distance = FrechetInceptionDistance(feature=Given(), normalize=False)
    distance.set_dtype(torch.float64)
    distance.update(torch.from_numpy(np.asarray(a, np.float64)), real=True)
    distance.update(torch.from_numpy(np.asarray(b, np.float64)), real=False)
    return float(distance.compute())


def precision_recall(generated: np.ndarray, real: np.ndarray, *, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al. 2019): shares in [0, 1].

    made [n, d], real [m, d], n and m > k. A point is inside a set's manifold if it lies within the distance from some
    point of the set to that point's k-th nearest neighbour in the set. Costs O((n + m)^2) memory and time.
    """
    if min(len(generated), len(real)) <= k:
        raise UserError(f"precision and recall with k = {k} need more than {k} rows, got {len(generated)} made and {len(real)} real")
    generated, real = generated.astype(np.float64), real.astype(np.float64)
    radius_generated, radius_real = (np.partition(cdist(x, x), k, axis=1)[:, k] for x in (generated, real))
    between = cdist(generated, real)
    precision = float((between <= radius_real[None, :]).any(axis=1).mean())
    recall = float((between <= radius_generated[:, None]).any(axis=0).mean())
    return precision, recall


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x.y / d + 1)^3 (Binkowski et al. 2018, eq. 4): KID on all pairs.

    a, b: features [n, d] and [m, d]; n, m >= 2. Expected 0 for equal distributions whatever n, so it may be slightly negative.
    No random subsets are drawn: it costs O((n + m)^2).
    """
    a, b = a.astype(np.float64), b.astype(np.float64)
    kernel = lambda x, y: (x @ y.T / a.shape[1] + 1) ** 3  # noqa: E731
    within = [(values.sum() - np.trace(values)) / (len(values) * (len(values) - 1)) for values in (kernel(a, a), kernel(b, b))]
    return float(sum(within) - 2 * kernel(a, b).mean())


def density_coverage(generated: np.ndarray, real: np.ndarray, *, k: int = 5) -> tuple[float, float]:
    """Density and coverage (Naeem et al. 2020, eq. 3 and 4), more robust to outliers than precision and recall.

    made [n, d], real [m, d], m > k. Around every real row lies a ball that reaches its k-th nearest real neighbour. Density: in how
    many balls a made row lies, over k (about 1 for real rows, may exceed 1). Coverage: the share of balls with a made row inside.
    """
    if len(real) <= k:
        raise UserError(f"density and coverage with k = {k} need more than {k} real rows, got {len(real)}")
    generated, real = generated.astype(np.float64), real.astype(np.float64)
    radius = np.partition(cdist(real, real), k, axis=1)[:, k]
    inside = cdist(generated, real) <= radius[None, :]
    return float(inside.sum(axis=1).mean() / k), float(inside.any(axis=0).mean())


def mauve(generated: np.ndarray, real: np.ndarray, *, clusters: int | None = None) -> float:
    """MAUVE (Pillutla et al. 2021): the area under the divergence curve of both sets, sorted into the same k-means clusters; 0 to 1.

    made [n, d], real [m, d]. `clusters`: a tenth of the smaller set and at most 500 unless given, as in the paper; never more than there
    are different rows. Unlike there the features are clustered as they are, for unit length would hide that they contract.
    """
    from sklearn.cluster import KMeans

    both, fewer = np.concatenate([generated, real]).astype(np.float64), min(len(generated), len(real))
    if clusters is not None and clusters > fewer:
        raise UserError(f"mauve with clusters = {clusters} needs as many rows, got {len(generated)} made and {len(real)} real")
    clusters = min(clusters or max(2, min(500, round(fewer / 10))), len(np.unique(both, axis=0)))
    cluster = KMeans(clusters, n_init=5, random_state=0).fit_predict(both)
    return divergence_area(*(np.bincount(own, minlength=clusters) / len(own) for own in np.split(cluster, [len(generated)])))


def divergence_area(p: np.ndarray, q: np.ndarray, *, scaling: float = 5.0) -> float:
    """The area under the divergence curve of two histograms [k], 0 to 1 (Pillutla et al. 2021, eq. 1); 1 if they are equal.

    The curve runs from (1, 0) to (0, 1) through exp(-scaling KL(q|r)), exp(-scaling KL(p|r)) for 25 mixtures r of p and q.
    """
    share = np.linspace(1e-6, 1 - 1e-6, 25)[:, None]
    mixture = share * p + (1 - share) * q  # [25, k]
    x, y = (np.exp(-scaling * rel_entr(one, mixture).sum(1)) for one in (q, p))
    return float(-trapezoid([0, *y, 1], [1, *x, 0]))


def vendi_score(x: np.ndarray) -> float:
    """How many wholly different rows there are in effect, 1 ... n (Friedman & Dieng 2023, eq. 1), with cosine similarity.

    x [n, d]. exp of the entropy of the eigenvalues of the similarity matrix over n; those of its d x d twin are the same.
    """
    x = x.astype(np.float64)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return _effective_number(np.linalg.eigvalsh(x.T @ x / len(x)))


def effective_rank(x: np.ndarray) -> float:
    """In how many directions rows differ in effect, 0 ... d (Roy & Vetterli 2007), 0 if all rows are equal.

    x [n, d]. exp of the entropy of the singular values of the centred rows, as shares of their sum.
    """
    return _effective_number(np.linalg.svd(x.astype(np.float64) - x.mean(axis=0, dtype=np.float64), compute_uv=False))


def _effective_number(weights: np.ndarray) -> float:
    weights = weights[weights > 1e-9 * max(1e-9, weights.max())]
    if not weights.size:
        return 0.0
    shares = weights / weights.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def nearest(x: np.ndarray, among: np.ndarray, *, but_itself: bool = False) -> np.ndarray:
    """Distance of every row of x [n, d] to the nearest of `among` [m, d], float64 [n]; `but_itself` where x is `among`."""
    place = 2 if but_itself else 1
    return cKDTree(among.astype(np.float64)).query(x.astype(np.float64), k=[place])[0][:, 0]
