"""One component of each kind, small enough to read in a minute.

`autophagy run my_experiment.yaml`, in this folder, runs an experiment with all of them. To write your own component, copy a class,
change it, and name it in a config as `use: my_module:MyClass`. A component is a dataclass; its fields are its settings.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from autophagy import CurationResult, FitResult, MetricInfo, Pool
from autophagy.common.components.dataset import split_pool
from autophagy.common.core.pool import REAL
from autophagy.common.core.random_streams import stream


@dataclass(frozen=True)
class UniformData:
    """Data set: uniform numbers for `replicates` independent chains. `x` is float64 [rows, replicates]."""

    rows: int = 400
    replicates: int = 20
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "analytic"

    def load(self, *, eval_size):
        x = stream(0, "uniform data").uniform(-1, 1, (self.rows, self.replicates))
        return split_pool(Pool.of(x=x), eval_size=eval_size, where="data")


@dataclass
class SmoothedBootstrap:
    """Generator: draws training rows with replacement and adds Gaussian noise with standard deviation `noise`."""

    noise: float = 0.1
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "analytic"
    columns: ClassVar[tuple[str, ...]] = ("x",)

    def fit(self, pool, *, seed, scratch, fresh=False):
        self.x = pool.array("x").copy()
        return FitResult.closed_form("samples", len(pool))

    def sample(self, n, *, seed, given=None):
        shape = (n, self.x.shape[1])
        rows = stream(seed, "rows").integers(0, len(self.x), shape)
        noise = stream(seed, "noise").standard_normal(shape)
        return Pool.of(x=np.take_along_axis(self.x, rows, axis=0) + self.noise * noise)

    def save(self, folder):
        np.save(folder / "x.npy", self.x)

    def load(self, folder):
        self.x = np.load(folder / "x.npy", allow_pickle=False)


@dataclass(frozen=True)
class Alternate:
    """Policy: trains on the real pool in every second generation and on the last generation otherwise."""

    version: ClassVar[int] = 1

    def __call__(self, available, *, size, rng):
        return available.real if available.generation % 2 == 0 else available.history[-1].choose(size, rng)

    def expected_counts(self, *, size, generation):
        return {REAL: size} if generation % 2 == 0 else {generation - 1: size}


@dataclass(frozen=True)
class DropOutliers:
    """Curation: keeps the `keep` fraction of candidates with the smallest mean square over replicates."""

    keep: float = 0.9
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ()

    def expected_keep_rate(self, *, synthetic_fraction):
        return self.keep

    def __call__(self, candidates, inputs, *, rng):
        size = (candidates.array("x") ** 2).mean(axis=1)
        kept = np.argsort(size, kind="stable")[: max(1, round(self.keep * len(size)))]
        return CurationResult(np.sort(kept), {"largest_kept": float(size[kept].max())})


@dataclass(frozen=True)
class Range:
    """Metric: the distance between the smallest and the largest generated number, averaged over replicates."""

    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("generated",)
    columns: ClassVar[tuple[str, ...]] = ("x",)
    outputs: ClassVar = {"range": MetricInfo("diversity", "units of x", higher_is_better=True, source="this example")}

    def __call__(self, inputs):
        return {"range": float(np.ptp(inputs.generated.array("x"), axis=0).mean())}


@dataclass
class Standardized:
    """Feature model: every world scaled to mean 0 and standard deviation 1 on real data."""

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("x",)

    def fit(self, pool, *, seed, scratch):
        self.mean, self.std = pool.array("x").mean(axis=0), pool.array("x").std(axis=0)

    def save(self, folder):
        np.save(folder / "scale.npy", np.stack([self.mean, self.std]))

    def load(self, folder):
        self.mean, self.std = np.load(folder / "scale.npy", allow_pickle=False)

    def __call__(self, pool):
        return {"features": ((pool.array("x") - self.mean) / self.std).astype(np.float32)}
