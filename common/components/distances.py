"""Statistics of feature vectors: distances between two sets [n, d] and [m, d], and the diversity of one set."""

from __future__ import annotations

import numpy as np

from ..core.errors import UserError


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Frechet distance between Gaussians fitted to two sets of features; with Inception features this is FID.

    |mu_a - mu_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) (Heusel et al. 2017, eq. 6), computed by torchmetrics.
    a, b: features [n, d] and [m, d]; n, m >= 2. In squared feature units, >= 0 up to rounding.
    """
    import torch
    from torchmetrics.image.fid import FrechetInceptionDistance

    class Identity(torch.nn.Module):
        """Passes on features that are already computed (and cached)."""

        num_features = a.shape[1]

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return features

    distance = FrechetInceptionDistance(feature=Identity(), normalize=False)
    distance.set_dtype(torch.float64)
    distance.update(torch.from_numpy(np.asarray(a, np.float64)), real=True)
    distance.update(torch.from_numpy(np.asarray(b, np.float64)), real=False)
    return float(distance.compute())


def precision_recall(generated: np.ndarray, real: np.ndarray, *, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al. 2019, eq. 1 and 2): two shares in [0, 1].

    generated [n, d], real [m, d]; n, m > k, else UserError. The manifold of a set is the union of balls around its points; each
    ball reaches the point's k-th nearest neighbour in the set. Precision: share of generated rows inside the real manifold.
    Recall: share of real rows inside the generated manifold. Costs O((n + m)^2) memory and time.
    """
    from scipy.spatial.distance import cdist

    if min(len(generated), len(real)) <= k:
        raise UserError(
            f"precision and recall with k = {k} need more than {k} rows of each kind, not {len(generated)} generated and {len(real)} real; "
            "increase eval_size or decrease k"
        )
    generated, real = generated.astype(np.float64), real.astype(np.float64)
    radius_generated, radius_real = (np.partition(cdist(x, x), k, axis=1)[:, k] for x in (generated, real))
    between = cdist(generated, real)
    precision = float((between <= radius_real[None, :]).any(axis=1).mean())
    recall = float((between <= radius_generated[:, None]).any(axis=0).mean())
    return precision, recall


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Kernel distance; with Inception features this is KID, computed on all pairs of rows instead of random subsets.

    Unbiased squared maximum mean discrepancy with the kernel (x.y / d + 1)^3 (Binkowski et al. 2018, eq. 4).
    a, b: features [n, d] and [m, d]; n, m >= 2. The expected value is 0 for equal distributions at any n, so single values
    may be slightly negative. Costs O((n + m)^2).
    """
    a, b = a.astype(np.float64), b.astype(np.float64)

    def kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return np.asarray((x @ y.T / a.shape[1] + 1) ** 3)

    within = [(values.sum() - np.trace(values)) / (len(values) * (len(values) - 1)) for values in (kernel(a, a), kernel(b, b))]
    return float(sum(within) - 2 * kernel(a, b).mean())


def density_coverage(generated: np.ndarray, real: np.ndarray, *, k: int = 5) -> tuple[float, float]:
    """Density and coverage (Naeem et al. 2020, eq. 3 and 4), which are more robust to outliers than precision and recall.

    generated [n, d], real [m, d]; m > k, else UserError. Each real row has a ball that reaches its k-th nearest real neighbour.
    Density: the number of balls that contain a generated row, on average, divided by k (about 1 for real rows, may exceed 1).
    Coverage: the share of balls that contain a generated row.
    """
    from scipy.spatial.distance import cdist

    if len(real) <= k:
        raise UserError(
            f"density and coverage with k = {k} need more than {k} real rows, not {len(real)}; increase eval_size or decrease k"
        )
    generated, real = generated.astype(np.float64), real.astype(np.float64)
    radius = np.partition(cdist(real, real), k, axis=1)[:, k]
    inside = cdist(generated, real) <= radius[None, :]
    return float(inside.sum(axis=1).mean() / k), float(inside.any(axis=0).mean())


def mauve(generated: np.ndarray, real: np.ndarray, *, clusters: int | None = None) -> float:
    """MAUVE (Pillutla et al. 2021): the area under the divergence curve of two cluster histograms; 0 to 1, 1 if they are equal.

    generated [n, d], real [m, d]. Both sets are assigned to the same k-means clusters. `clusters`: by default a tenth of the
    smaller set, from 2 to 500, as in the paper; never more than there are different rows. Raises UserError for more clusters
    than rows. Unlike in the paper, features are not scaled to unit length, because that would hide that they contract.
    """
    from sklearn.cluster import KMeans

    both, smaller = np.concatenate([generated, real]).astype(np.float64), min(len(generated), len(real))
    if clusters is not None and clusters > smaller:
        raise UserError(
            f"mauve with clusters = {clusters} needs at least {clusters} rows of each kind, not {len(generated)} generated and "
            f"{len(real)} real; decrease clusters or increase eval_size"
        )
    clusters = min(clusters or max(2, min(500, round(smaller / 10))), len(np.unique(both, axis=0)))
    assigned = KMeans(clusters, n_init=5, random_state=0).fit_predict(both)
    return divergence_area(*(np.bincount(own, minlength=clusters) / len(own) for own in np.split(assigned, [len(generated)])))


def divergence_area(p: np.ndarray, q: np.ndarray, *, scaling: float = 5.0) -> float:
    """The area under the divergence curve of two histograms [k], 0 to 1 (Pillutla et al. 2021, eq. 1); 1 if they are equal.

    The curve runs from (1, 0) to (0, 1) through exp(-scaling KL(q|r)), exp(-scaling KL(p|r)) for 25 mixtures r of p and q.
    """
    from scipy.integrate import trapezoid
    from scipy.special import rel_entr

    weight = np.linspace(1e-6, 1 - 1e-6, 25)[:, None]
    mixture = weight * p + (1 - weight) * q  # [25, k]
    x, y = (np.exp(-scaling * rel_entr(histogram, mixture).sum(1)) for histogram in (q, p))
    return float(-trapezoid([0, *y, 1], [1, *x, 0]))


def vendi_score(x: np.ndarray) -> float:
    """Vendi score: the effective number of different rows, from 1 to n (Friedman & Dieng 2023, eq. 1), by cosine similarity.

    x [n, d]. The exponential of the entropy of the eigenvalues of the similarity matrix divided by n. The d x d matrix used
    here has the same nonzero eigenvalues as the n x n one.
    """
    x = x.astype(np.float64)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return _effective_number(np.linalg.eigvalsh(x.T @ x / len(x)))


def effective_rank(x: np.ndarray) -> float:
    """The effective number of directions in which rows differ, from 0 to d (Roy & Vetterli 2007); 0 if all rows are equal.

    x [n, d]. The exponential of the entropy of the singular values of the centred rows, normalised to sum to 1.
    """
    return _effective_number(np.linalg.svd(x.astype(np.float64) - x.mean(axis=0, dtype=np.float64), compute_uv=False))


def _effective_number(weights: np.ndarray) -> float:
    """The exponential of the entropy of weights [k], normalised to sum to 1; 0 if all are 0."""
    weights = weights[weights > 1e-9 * max(1e-9, weights.max())]
    if not weights.size:
        return 0.0
    shares = weights / weights.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def nearest_distance(x: np.ndarray, references: np.ndarray, *, exclude_self: bool = False) -> np.ndarray:
    """Euclidean distance of each row of x [n, d] to the nearest row of `references` [m, d]; float64 [n].

    `exclude_self`: x and `references` are the same rows, and a row is not its own neighbour.
    """
    from scipy.spatial import cKDTree

    place = 2 if exclude_self else 1
    distances, _ = cKDTree(references.astype(np.float64)).query(x.astype(np.float64), k=[place])
    return np.asarray(distances)[:, 0]
