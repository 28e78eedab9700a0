"""MAUVE: the area equals that of the authors' package, and it falls as generated rows move away from real ones."""

from __future__ import annotations

import numpy as np
import pytest
from autophagy.common.components.distances import divergence_area, mauve, principal_components
from autophagy.common.core.errors import UserError
from scipy.integrate import trapezoid
from support.metric_inputs import degraded_images, features_of, measured

RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("p", "q", "area"),
    [  # computed with mauve-text 0.4.0 on the same 25 mixtures
        ((1, 2, 3, 4), (4, 3, 2, 1), 0.6538536633533254),
        ((5, 0, 5), (0, 5, 5), 0.09257236294829274),
        ((10, 0, 0), (2, 3, 5), 0.04893938891448336),
        ((1, 0), (0, 1), 0.0040720962619612555),
        ((3, 3, 3), (3, 3, 3), 1.0),
    ],
)
def test_divergence_area_equals_the_authors_package(p, q, area):
    p, q = (np.array(counts) / sum(counts) for counts in (p, q))
    assert divergence_area(p, q) == pytest.approx(area, rel=1e-9)
    assert divergence_area(q, p) == pytest.approx(area, rel=1e-9)


def test_divergence_area_of_disjoint_histograms_is_closed_form():
    """Then x = share^5 and y = (1 - share)^5, so the area tends to the beta integral 5 B(5, 6) = 1/252."""
    shares = np.linspace(0, 1, 100_001)
    exact = trapezoid((1 - shares) ** 5, shares**5)
    assert exact == pytest.approx(1 / 252, rel=1e-6)
    assert divergence_area(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == pytest.approx(exact, rel=0.03), "25 mixtures approximate it"


def test_mauve_of_clear_clusters_is_the_area_of_their_counts():
    centres, generated, real = np.eye(4) * 100, [10, 20, 30, 40], [40, 30, 20, 10]
    a, b = (np.repeat(centres, counts, axis=0) + RNG.standard_normal((100, 4)) for counts in (generated, real))
    assert mauve(a, b, clusters=4) == pytest.approx(divergence_area(np.array(generated) / 100, np.array(real) / 100))
    assert mauve(RNG.permutation(a), RNG.permutation(b), clusters=4) == pytest.approx(mauve(a, b, clusters=4))


def test_principal_components_keep_the_share_of_variance_with_the_fewest_directions():
    x = RNG.standard_normal((500, 4)) * [3.0, 2.0, 1.0, 0.1] @ np.linalg.qr(RNG.standard_normal((4, 4)))[0] + 5
    explained = np.cumsum(np.linalg.svd(x - x.mean(0), compute_uv=False) ** 2) / ((x - x.mean(0)) ** 2).sum()
    for count, share in ((1, 0.5), (2, 0.9), (3, 0.99), (4, 1.0)):
        kept = principal_components(x, share=share)
        assert kept.shape == (500, count)
        assert (kept**2).sum() / ((x - x.mean(0)) ** 2).sum() == pytest.approx(explained[count - 1], rel=1e-5)
    assert principal_components(np.ones((5, 3)), share=0.9).shape[0] == 5, "no variance at all"


def test_mauve_falls_when_rows_shift_contract_spread_or_vanish():
    real, generated = RNG.standard_normal((2, 300, 6))
    two = generated + 8 * (np.arange(300) % 2 == 0)[:, None]
    assert mauve(generated, real) > mauve(generated + 0.7, real) > mauve(generated + 2, real) > 0
    assert mauve(generated, real) > mauve(generated * 0.6, real) > mauve(generated * 0.2, real)
    assert mauve(generated, real) > mauve(generated * 2, real) > mauve(generated * 4, real)
    assert mauve(two, real + 8 * (np.arange(300) % 2 == 1)[:, None]) > mauve(two[::2].repeat(2, axis=0), two)


def test_mauve_of_real_rows_depends_on_rows_and_clusters():
    def of(n, clusters=None):
        return np.mean([mauve(*RNG.standard_normal((2, n, 4)), clusters=clusters) for _ in range(8)])

    assert of(40, 20) < of(160, 20) < of(640, 20) < 1
    assert of(200, 60) < of(200, 10)
    assert of(100) == pytest.approx(of(400), abs=0.05), "equal rows per cluster, about equal floors"


def test_mauve_falls_with_equal_rows_and_stays_finite():
    real = degraded_images(0)
    values = [measured("mauve", generated=degraded_images(share), heldout=real, features=features_of)["mauve"] for share in (0, 0.5, 0.9)]
    assert values[0] == pytest.approx(1)
    assert values[0] > values[1] > values[2] > 0
    assert mauve(np.ones((30, 4)), np.ones((30, 4))) == pytest.approx(1), "all rows of both sets equal"
    assert 0 < mauve(np.ones((30, 4)), np.zeros((30, 4))) < 0.01


def test_mauve_is_deterministic_and_keeps_global_random_state():
    a, b = RNG.standard_normal((2, 60, 4))
    before = np.random.get_state()[1].tolist(), np.random.get_state()[2]
    first = mauve(a, b)
    np.random.seed(1)
    seeded = np.random.get_state()[1].tolist(), np.random.get_state()[2]
    assert mauve(a, b) == first
    assert (np.random.get_state()[1].tolist(), np.random.get_state()[2]) == seeded != before


def test_mauve_rejects_more_clusters_than_rows():
    with pytest.raises(UserError, match="mauve with clusters = 50 needs at least 50 rows of each kind, not 40 generated and 60 real"):
        mauve(np.ones((40, 2)), np.ones((60, 2)), clusters=50)
