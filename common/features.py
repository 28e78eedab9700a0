"""Feature space: the feature-model contract, and the statistics that compare two sets of features [n, d]."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Protocol

import numpy as np
from scipy.spatial.distance import cdist

from .errors import UserError
from .pool import Pool


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


def precision_recall(made: np.ndarray, real: np.ndarray, *, k: int = 3) -> tuple[float, float]:
    """Improved precision and recall (Kynkaanniemi et al. 2019): shares in [0, 1].

    made [n, d], real [m, d], n and m > k. A point is inside a set's manifold if it lies within the distance from some
    point of the set to that point's k-th nearest neighbour in the set. Costs O((n + m)^2) memory and time.
    """
    if min(len(made), len(real)) <= k:
        raise UserError(f"precision and recall with k = {k} need more than {k} rows, got {len(made)} made and {len(real)} real")
    made, real = made.astype(np.float64), real.astype(np.float64)
    radius_made, radius_real = (np.partition(cdist(x, x), k, axis=1)[:, k] for x in (made, real))
    between = cdist(made, real)
    precision = float((between <= radius_real[None, :]).any(axis=1).mean())
    recall = float((between <= radius_made[:, None]).any(axis=0).mean())
    return precision, recall
