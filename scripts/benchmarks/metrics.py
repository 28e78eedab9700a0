"""Rows `metrics`: metrics in feature space on many rows, here and in the packages that users know."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .row import GIBIBYTE, Cost, Rival, Row, Side, Task


@dataclass(frozen=True)
class Features:
    """Size of the two sets of features, [rows, dimensions] each."""

    rows: int = 10_000
    dimensions: int = 2048


def write_files(features: Features, folder: Path) -> None:
    """Write two sets of Gaussian features with a decaying spectrum, float32. The generated set is shifted and less diverse."""
    rng = np.random.default_rng(0)
    scales = np.arange(1, features.dimensions + 1) ** -0.5
    for name, shift, spread in (("real", 0.0, 1.0), ("generated", 0.1, 0.9)):
        rows = rng.standard_normal((features.rows, features.dimensions)) * scales * spread + shift * scales
        np.save(folder / f"{name}.npy", rows.astype(np.float32))


def read(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the generated and the real features."""
    return np.load(folder / "generated.npy"), np.load(folder / "real.npy")


def task(compute: Callable[[np.ndarray, np.ndarray], Any], features: Features, folder: Path) -> Task:
    """Make a task from a function of the generated and the real features. A first call on few rows loads the libraries."""
    generated, real = read(folder)
    few = min(600, features.rows)
    compute(generated[:few], real[:few])
    return Task(lambda: compute(generated, real))


# ---- this package -------------------------------------------------------------------------------------------------


def neighbour_metrics(features: Features, folder: Path) -> Task:
    from autophagy.common.components.distances import density_coverage, precision_recall

    return task(lambda generated, real: (precision_recall(generated, real, k=5), density_coverage(generated, real, k=5)), features, folder)


def frechet(features: Features, folder: Path) -> Task:
    from autophagy.common.components.distances import frechet_distance

    return task(frechet_distance, features, folder)


def kernel(features: Features, folder: Path) -> Task:
    from autophagy.common.components.distances import kernel_distance

    return task(kernel_distance, features, folder)


def divergence(features: Features, folder: Path) -> Task:
    from autophagy.common.components.distances import mauve

    return task(mauve, features, folder)


# ---- rivals -------------------------------------------------------------------------------------------------------


def prdc(features: Features, folder: Path) -> Task:
    from prdc import compute_prdc

    return task(lambda generated, real: compute_prdc(real, generated, nearest_k=5), features, folder)


def torchmetrics_fid(features: Features, folder: Path) -> Task:
    from torchmetrics.image.fid import FrechetInceptionDistance

    return task(
        lambda generated, real: update(FrechetInceptionDistance(identity(real), normalize=False), generated, real), features, folder
    )


def torchmetrics_kid(features: Features, folder: Path) -> Task:
    """KID with its default: the mean over 100 random subsets of 1,000 rows."""
    from torchmetrics.image.kid import KernelInceptionDistance

    def compute(generated: np.ndarray, real: np.ndarray) -> Any:
        return update(KernelInceptionDistance(identity(real), subset_size=min(1000, len(real))), generated, real)

    return task(compute, features, folder)


def identity(features: np.ndarray) -> Any:
    """Return a module that returns its input, because the features are already computed."""
    import torch

    module = torch.nn.Identity()
    module.num_features = features.shape[1]
    return module


def update(metric: Any, generated: np.ndarray, real: np.ndarray) -> Any:
    """Compute a metric of torchmetrics on the device of the benchmark."""
    import torch
    from autophagy.common.core.device import device

    metric.to(device())
    metric.update(torch.from_numpy(real).to(device()), real=True)
    metric.update(torch.from_numpy(generated).to(device()), real=False)
    return metric.compute()


def mauve_text(features: Features, folder: Path) -> Task:
    from mauve import compute_mauve

    return task(lambda generated, real: compute_mauve(p_features=real, q_features=generated, verbose=False), features, folder)


# ---- rows ---------------------------------------------------------------------------------------------------------


def pairwise_cost(features: Features) -> Cost:
    """Count the three matrix products of the rows: real with real, generated with generated, and real with generated."""
    return Cost(3 * 2 * features.rows**2 * features.dimensions)


def covariance_cost(features: Features) -> Cost:
    """Count the two covariance matrices."""
    return Cost(2 * 2 * features.rows * features.dimensions**2)


def metric_row(case: str, ours: Side, rival: Rival, cost: Callable[[Features], Cost] | None, *, device: str) -> Row:
    size = "10,000 x 2,048"
    return Row(
        "metrics", f"{case}, {size}", "s", ours, Features(), Features(rows=40, dimensions=8), [rival], write_files, cost,
        device, at_most=15, memory_at_most=2 * GIBIBYTE, warm_up=False,
    )  # fmt: skip


def rows_on(device: str) -> tuple[Row, ...]:
    row = partial(metric_row, device=device)
    return (
        row("precision, recall, density, coverage", neighbour_metrics, Rival("prdc", prdc), pairwise_cost),
        row("FID", frechet, Rival("torchmetrics", torchmetrics_fid), covariance_cost),
        row("KID", kernel, Rival("torchmetrics", torchmetrics_kid), pairwise_cost),
        row("MAUVE", divergence, Rival("mauve-text", mauve_text), None),
    )


ROWS = (*rows_on("cpu"), *rows_on("cuda"))
