"""Distances between two sets of feature vectors [n, d] and [m, d], and diversity measures of one set."""

from __future__ import annotations

import numpy as np

from ..core.device import compute_in
from ..core.errors import UserError
from .neighbours import BLOCK_PAIRS, DistinctRows, Pairs, blocks, on_device

TREE_COLUMNS = 16
"""Up to this number of dimensions, a kd-tree finds the nearest row faster than matrix products."""
TREE_PRODUCTS = 10**8
"""Up to this number of rows times rows times dimensions, a kd-tree is fast enough."""
START_COMPONENTS = 64
"""Number of principal components on which MAUVE's first cluster centres are chosen. With all of 2,048 this takes most of the time."""


def frechet_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Compute the Frechet distance between Gaussians fitted to two sets of features. With Inception features this is FID.

    |mu_a - mu_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2)) (Heusel et al. 2017, eq. 6), computed by torchmetrics.
    a, b: features [n, d] and [m, d]; n, m >= 2. The unit is squared feature units. The value is >= 0 up to rounding errors.
    """
    import torch
    from torchmetrics.image.fid import FrechetInceptionDistance

    class Identity(torch.nn.Module):
        """Returns its input, because the features are already computed."""

        num_features = a.shape[1]

        def forward(self, features: torch.Tensor) -> torch.Tensor:
            return features

    distance = FrechetInceptionDistance(feature=Identity(), normalize=False)
    distance.set_dtype(torch.float64)
    distance.update(torch.from_numpy(np.asarray(a, np.float64)), real=True)
    distance.update(torch.from_numpy(np.asarray(b, np.float64)), real=False)
    return float(distance.compute())


def precision_recall(generated: np.ndarray, real: np.ndarray, *, k: int = 3) -> tuple[float, float]:
    """Compute improved precision and recall (Kynkaanniemi et al. 2019, eq. 1 and 2). Returns two shares in [0, 1].

    generated [n, d], real [m, d]. Raises UserError unless n, m > k. The manifold of a set is the union of balls around its points.
    Each ball reaches to the k-th nearest neighbour of its point within the set. Precision is the share of generated rows inside
    the real manifold. Recall is the share of real rows inside the generated manifold. Time is O((n + m)^2), memory is O(n + m).
    """
    if min(len(generated), len(real)) <= k:
        raise UserError(
            f"precision and recall with k = {k} need more than {k} rows of each kind, not {len(generated)} generated and {len(real)} real; "
            "increase eval_size or decrease k"
        )
    x, y = DistinctRows.of(generated), DistinctRows.of(real)
    within = Pairs(x, y).within({"y": neighbour_distances(y, k), "x": neighbour_distances(x, k)})
    (balls, _), (_, covered) = within["y"], within["x"]
    return float((balls > 0)[x.inverse].mean()), float((covered > 0)[y.inverse].mean())


def kernel_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Compute the kernel distance. With Inception features this is KID, but on all pairs of rows instead of random subsets.

    Unbiased squared maximum mean discrepancy with the kernel (x.y / d + 1)^3 (Binkowski et al. 2018, eq. 4).
    a, b: features [n, d] and [m, d]; n, m >= 2. For equal distributions the expected value is 0 for all n and m. So single
    values can be slightly negative. Time is O((n + m)^2), memory is O(n + m). float32 features are multiplied in float32: rounding
    errors of single pairs average out.
    """
    within = [_kernel_sum(x, x) / (len(x) * (len(x) - 1)) for x in (a, b)]
    return float(sum(within) - 2 * _kernel_sum(a, b) / (len(a) * len(b)))


def _kernel_sum(x: np.ndarray, y: np.ndarray) -> float:
    """Add up the kernel of all pairs of rows. If x and y are the same object, pairs of a row with itself do not count."""
    import torch

    left = on_device(x)
    right = left if x is y else on_device(y)
    ones, total = left.new_ones(1), 0.0
    for rows in blocks(len(left), BLOCK_PAIRS // len(right)):
        others = right[rows.start :] if x is y else right  # the kernel is symmetric: half of the pairs suffice
        with compute_in("float32"):
            values = torch.addmm(ones, left[rows], others.T, alpha=1 / left.shape[1]).pow_(3)
        if x is y:
            values = values.triu_(1)
        total += float(values.sum(1).cpu().double().sum()) * (2 if x is y else 1)
    return total


def density_coverage(generated: np.ndarray, real: np.ndarray, *, k: int = 5) -> tuple[float, float]:
    """Compute density and coverage (Naeem et al. 2020, eq. 3 and 4). They are more robust to outliers than precision and recall.

    generated [n, d], real [m, d]. Raises UserError unless m > k. Each real row has a ball that reaches to its k-th nearest real
    neighbour. Density is the mean number of balls that contain a generated row, divided by k. It is about 1 for real rows and
    can exceed 1. Coverage is the share of balls that contain at least one generated row.
    """
    if len(real) <= k:
        raise UserError(
            f"density and coverage with k = {k} need more than {k} real rows, not {len(real)}; increase eval_size or decrease k"
        )
    x, y = DistinctRows.of(generated), DistinctRows.of(real)
    balls, covered = Pairs(x, y).within({"y": neighbour_distances(y, k)})["y"]
    return float(balls[x.inverse].mean() / k), float((covered > 0)[y.inverse].mean())


def mauve(generated: np.ndarray, real: np.ndarray, *, clusters: int | None = None) -> float:
    """Compute MAUVE (Pillutla et al. 2021), the area under the divergence curve of two cluster histograms.

    The value is between 0 and 1, and 1 for equal histograms. generated [n, d], real [m, d]. Both sets are assigned to the same
    k-means clusters. The default of `clusters` is a tenth of the rows of the smaller set, from 2 to 500, as in the paper. It is
    reduced to the number of different rows if that is smaller. Raises UserError if `clusters` exceeds the number of rows.
    Clusters are found on the principal components with 90 % of the variance, as in the paper. Unlike in the paper, k-means has one
    start (k-means++ on the first components) and at most 10 iterations, and features are not scaled to unit length, because scaling
    would hide a contraction.
    """
    from sklearn.cluster import KMeans, kmeans_plusplus

    smaller = min(len(generated), len(real))
    if clusters is not None and clusters > smaller:
        raise UserError(
            f"mauve with clusters = {clusters} needs at least {clusters} rows of each kind, not {len(generated)} generated and "
            f"{len(real)} real; decrease clusters or increase eval_size"
        )
    both = principal_components(np.concatenate([generated, real]), share=0.9)
    clusters = min(clusters or max(2, min(500, round(smaller / 10))), len(DistinctRows.of(both)))
    _, first = kmeans_plusplus(both[:, :START_COMPONENTS], clusters, random_state=0)
    assigned = KMeans(clusters, init=both[first], n_init=1, max_iter=10, random_state=0).fit_predict(both)
    return divergence_area(*(np.bincount(own, minlength=clusters) / len(own) for own in np.split(assigned, [len(generated)])))


def principal_components(x: np.ndarray, *, share: float) -> np.ndarray:
    """Project centred rows [n, d] on their first principal components, which have at least this share of the variance.

    Returns float32 [n, c], with 1 <= c <= d. Products are in float32, on the CPU.
    """
    centred = np.asarray(x - x.mean(axis=0, dtype=np.float64), np.float32)
    variances, directions = np.linalg.eigh((centred.T @ centred).astype(np.float64))  # ascending
    explained = np.cumsum(variances.clip(0)[::-1])
    kept = min(int(np.searchsorted(explained, share * explained[-1])) + 1, x.shape[1])
    return np.asarray(centred @ directions[:, ::-1][:, :kept].astype(np.float32))


def divergence_area(p: np.ndarray, q: np.ndarray, *, scaling: float = 5.0) -> float:
    """Compute the area under the divergence curve of two histograms [k] (Pillutla et al. 2021, eq. 1).

    The value is between 0 and 1, and 1 for equal histograms. The curve goes from (1, 0) to (0, 1) through the points
    (exp(-scaling KL(q|r)), exp(-scaling KL(p|r))) for 25 mixtures r of p and q.
    """
    from scipy.integrate import trapezoid
    from scipy.special import rel_entr

    weight = np.linspace(1e-6, 1 - 1e-6, 25)[:, None]
    mixture = weight * p + (1 - weight) * q  # [25, k]
    x, y = (np.exp(-scaling * rel_entr(histogram, mixture).sum(1)) for histogram in (q, p))
    return float(-trapezoid([0, *y, 1], [1, *x, 0]))


def vendi_score(x: np.ndarray) -> float:
    """Compute the Vendi score, the effective number of different rows, from 1 to n (Friedman & Dieng 2023, eq. 1).

    x [n, d]. The score is the exponential of the entropy of the eigenvalues of the cosine similarity matrix divided by n. The
    d x d matrix used here has the same nonzero eigenvalues as the n x n similarity matrix.
    """
    x = x.astype(np.float64)
    x = x / np.maximum(np.linalg.norm(x, axis=1, keepdims=True), 1e-12)
    return _effective_number(np.linalg.eigvalsh(x.T @ x / len(x)))


def effective_rank(x: np.ndarray) -> float:
    """Compute the effective rank, the effective number of directions in which rows differ, from 0 to d (Roy & Vetterli 2007).

    x [n, d]. The rank is the exponential of the entropy of the singular values of the centred rows, which are normalised to sum
    to 1. It is 0 if all rows are equal.
    """
    return _effective_number(np.linalg.svd(x.astype(np.float64) - x.mean(axis=0, dtype=np.float64), compute_uv=False))


def _effective_number(weights: np.ndarray) -> float:
    """Compute the exponential of the entropy of weights [k], normalised to sum to 1. Returns 0 if all weights are 0."""
    weights = weights[weights > 1e-9 * max(1e-9, weights.max())]
    if not weights.size:
        return 0.0
    shares = weights / weights.sum()
    return float(np.exp(-(shares * np.log(shares)).sum()))


def neighbour_distances(rows: DistinctRows, k: int) -> np.ndarray:
    """Compute the distance of each of the different rows to its k-th nearest neighbour in the set. Returns float64 [number of them].

    Copies of a row are neighbours of it at distance 0.
    """
    pairs, distances = Pairs(rows, rows), np.empty(len(rows))
    for row, columns in pairs.candidates(min(k + 1, len(rows))):
        copies = np.repeat(columns, np.minimum(rows.counts[columns], k + 1))
        distances[row] = np.partition(pairs.distances(row, copies), k)[k]
    return distances


def nearest_distance(x: np.ndarray, references: np.ndarray, *, exclude_self: bool = False) -> np.ndarray:
    """Compute the Euclidean distance of each row of x [n, d] to the nearest row of `references` [m, d]. Returns float64 [n].

    Set `exclude_self` if x and `references` are the same rows. Then the distance of a row to itself does not count.
    """
    from scipy.spatial import cKDTree

    place = 2 if exclude_self else 1
    if x.shape[1] <= TREE_COLUMNS or x.size * len(references) <= TREE_PRODUCTS:
        distances, _ = cKDTree(references.astype(np.float64)).query(x.astype(np.float64), k=[place])
        return np.asarray(distances)[:, 0]
    rows = DistinctRows.of(x)
    others = rows if exclude_self else DistinctRows.of(references)
    nearest = np.empty(len(rows))
    for row, columns in Pairs(rows, others).candidates(min(place, len(others))):
        copies = np.repeat(columns, np.minimum(others.counts[columns], place))
        tree = cKDTree(others.values[copies].astype(np.float64))  # its last bits differ from those of cdist
        nearest[row] = tree.query(rows.values[row].astype(np.float64), k=[place])[0][0]
    return np.asarray(nearest[rows.inverse])
