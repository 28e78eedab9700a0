"""Statistics of features: equal to other implementations, and they change in the right direction."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg
import torch
from autophagy.common.components import distances, neighbours
from autophagy.common.components.distances import (
    density_coverage,
    effective_rank,
    frechet_distance,
    kernel_distance,
    nearest_distance,
    precision_recall,
    vendi_score,
)
from scipy.spatial import cKDTree
from scipy.spatial.distance import cdist
from sklearn.neighbors import NearestNeighbors
from torchmetrics.image.kid import maximum_mean_discrepancy, poly_kernel

RNG = np.random.default_rng(0)


def test_frechet_distance_equals_formula_with_scipy_sqrtm():
    a, b = RNG.standard_normal((300, 6)), RNG.standard_normal((200, 6)) @ RNG.standard_normal((6, 6)) + 1
    root = scipy.linalg.sqrtm(np.cov(a.T) @ np.cov(b.T)).real
    expected = ((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(np.cov(a.T) + np.cov(b.T) - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-6)
    assert frechet_distance(a, a) == pytest.approx(0, abs=1e-6)


def test_precision_recall_equal_brute_force():
    generated, real = RNG.standard_normal((60, 4)) * 0.7, RNG.standard_normal((80, 4))

    def inside(points, manifold, k=3):
        radius = NearestNeighbors(n_neighbors=k + 1).fit(manifold).kneighbors(manifold)[0][:, k]
        return np.mean([(np.linalg.norm(manifold - point, axis=1) <= radius).any() for point in points])

    assert precision_recall(generated, real) == pytest.approx((inside(generated, real), inside(real, generated)))
    assert precision_recall(real, real) == (1.0, 1.0)


def test_kernel_distance_equals_torchmetrics_kid():
    a, b = RNG.standard_normal((50, 8)), RNG.standard_normal((50, 8)) + 0.3
    expected = maximum_mean_discrepancy(
        *(poly_kernel(*map(torch.from_numpy, pair), degree=3, gamma=1 / 8, coef=1) for pair in [(a, a), (a, b), (b, b)])
    )
    assert kernel_distance(a, b) == pytest.approx(expected.item(), rel=1e-9)
    assert kernel_distance(a.astype(np.float32), b.astype(np.float32)) == pytest.approx(expected.item(), rel=1e-4), "float32 products"


def test_kernel_distance_is_unbiased_and_frechet_is_not():
    """Real against real: the mean over 60 draws, within 4 standard errors of 0."""
    for n in (20, 80):
        pairs = [(RNG.standard_normal((n, 16)), RNG.standard_normal((n, 16))) for _ in range(60)]
        kernel = np.array([kernel_distance(a, b) for a, b in pairs])
        assert abs(kernel.mean()) < 4 * kernel.std() / np.sqrt(60)
    small, large = (np.mean([frechet_distance(*RNG.standard_normal((2, n, 16))) for _ in range(10)]) for n in (20, 80))
    assert small > 2 * large > 0.5


def test_density_coverage_equal_brute_force():
    generated, real, k = RNG.standard_normal((40, 3)) * 0.5, RNG.standard_normal((60, 3)), 5
    radius = NearestNeighbors(n_neighbors=k + 1).fit(real).kneighbors(real)[0][:, k]
    inside = np.array(
        [[np.linalg.norm(point - centre) <= reach for centre, reach in zip(real, radius, strict=True)] for point in generated]
    )
    assert density_coverage(generated, real) == pytest.approx((inside.sum() / (k * 40), inside.any(0).mean()))
    assert density_coverage(real, real)[1] == 1.0


def test_nearest_distance_equals_brute_force_and_can_exclude_the_row_itself():
    x, references = RNG.standard_normal((20, 3)), RNG.standard_normal((30, 3))
    brute_force = np.linalg.norm(x[:, None] - references[None], axis=2)
    assert nearest_distance(x, references) == pytest.approx(brute_force.min(axis=1))
    assert (nearest_distance(x, x) == 0).all()
    others = np.linalg.norm(x[:, None] - x[None], axis=2) + np.diag(np.full(20, np.inf))
    assert nearest_distance(x, x, exclude_self=True) == pytest.approx(others.min(axis=1))


def rows_of(kind: str, n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """Rows with ties: of a grid, of few different rows, of clusters that are narrower than products resolve, or all equal."""
    x = rng.standard_normal((n, d))
    few = x[rng.integers(0, 3, n)]
    noise = rng.standard_normal((n, d))
    return {
        "spread": x,
        "grid": np.round(x),
        "copies": few,
        "near copies": few + 1e-7 * noise,
        "far clusters": 100 * few + 1e-3 * noise + 1e3,
        "clump and spread": np.where(rng.random((n, 1)) < 0.5, x, 1e-9 * noise),
        "equal": np.zeros((n, d)) - 0.0,
    }[kind]


KINDS = ("spread", "grid", "copies", "near copies", "far clusters", "clump and spread", "equal")


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_equal_plain_float64_distances_exactly(kind, monkeypatch):
    """Also with blocks of a few rows, and if few pairs may stay open before float64 products are used."""
    monkeypatch.setattr(distances, "TREE_PRODUCTS", 0)
    monkeypatch.setattr(distances, "TREE_COLUMNS", 0)
    rng = np.random.default_rng(KINDS.index(kind))
    for number, other in enumerate(KINDS):
        monkeypatch.setattr(neighbours, "BLOCK_PAIRS", (300, 8_000_000)[number % 2])
        monkeypatch.setattr(neighbours, "OPEN_PAIRS", (0, 256)[number % 2])
        d, k, scale = int(rng.choice([1, 3, 200])), int(rng.integers(1, 6)), 10.0 ** rng.integers(-9, 9)
        dtype = (np.float32, np.float64)[number % 3 == 0]
        generated, real = ((scale * rows_of(name, n, d, rng)).astype(dtype) for name, n in ((kind, 70), (other, 50)))
        real[:10] = generated[:10]
        x, y = generated.astype(np.float64), real.astype(np.float64)
        between = cdist(x, y)
        radius_x, radius_y = (np.partition(cdist(rows, rows), k, axis=1)[:, k] for rows in (x, y))
        inside = between <= radius_y
        assert precision_recall(generated, real, k=k) == (inside.any(1).mean(), (between <= radius_x[:, None]).any(0).mean())
        assert density_coverage(generated, real, k=k) == (inside.sum(1).mean() / k, inside.any(0).mean())
        assert np.array_equal(nearest_distance(generated, real), cKDTree(y).query(x)[0])
        assert np.array_equal(nearest_distance(generated, generated, exclude_self=True), cKDTree(x).query(x, k=[2])[0][:, 0])


def test_vendi_score_and_effective_rank_of_known_sets():
    assert vendi_score(np.eye(7)) == pytest.approx(7)
    assert vendi_score(np.ones((9, 4))) == pytest.approx(1)
    assert vendi_score(np.repeat(np.eye(3), 5, axis=0)) == pytest.approx(3), "five copies of three rows are three rows"
    x = RNG.standard_normal((50, 6))
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    eigenvalues = np.linalg.eigvalsh(unit @ unit.T / 50)
    some = eigenvalues[eigenvalues > 1e-12]
    assert vendi_score(x) == pytest.approx(np.exp(-(some * np.log(some)).sum()))
    assert effective_rank(np.ones((5, 3))) == 0
    assert effective_rank(np.outer(RNG.standard_normal(20), [1, 2, 3])) == pytest.approx(1)
    orthogonal = np.concatenate([np.eye(4), -np.eye(4)])
    assert effective_rank(orthogonal) == pytest.approx(4)


def test_recall_falls_on_contraction_and_precision_on_spread():
    real, other = RNG.standard_normal((200, 4)), RNG.standard_normal((200, 4))
    precision, recall = zip(*(precision_recall(scale * other, real) for scale in (1.0, 0.5, 0.2)), strict=True)
    assert recall[0] > recall[1] > recall[2]
    assert precision[2] >= precision[0]
    precision, recall = zip(*(precision_recall(scale * other, real) for scale in (1.0, 2.0, 4.0)), strict=True)
    assert precision[0] > precision[1] > precision[2]
