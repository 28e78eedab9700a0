"""A generator and a data set that violate one rule of their contract. The setting `fault` selects the rule."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
from autophagy.analytic.data import GaussianData
from autophagy.analytic.gaussian import Gaussian
from autophagy.common.core.pool import Pool

Fault = Literal[
    "none", "no rows", "few rows", "more rows", "other column", "another column", "float32", "whole numbers", "another replicate", "nan",
    "infinite", "no pool", "equal rows", "nearly equal rows", "no fit result", "too few visit counts", "nothing consumed", "nan loss",
    "nan weights", "raises",
]  # fmt: skip


@dataclass
class FaultyGaussian(Gaussian):
    """A Gaussian that violates its contract from generation `since` on."""

    fault: Fault = "none"
    since: int = 0
    version: ClassVar[int] = 1

    def fit(self, pool, *, seed, scratch, fresh=False):
        result = super().fit(pool, seed=seed, scratch=scratch, fresh=fresh)
        self.generation = int(pool.array("_generation").max()) + 1
        if self.generation < self.since:
            return result
        if self.fault == "nan weights":
            self.covariance[0] = np.nan
        if self.fault == "raises":
            raise ZeroDivisionError("a bug in a plug-in")
        faulty = {
            "no fit result": {"loss": 1.0},
            "too few visit counts": replace(result, visit_counts=result.visit_counts[1:]),
            "nothing consumed": replace(result, visit_counts=0 * result.visit_counts),
            "nan loss": replace(result, stats={"loss": float("nan")}),
        }
        return faulty.get(self.fault, result)

    def sample(self, n, *, seed, given=None):
        x = super().sample(n, seed=seed).array("x")
        if self.generation < self.since:
            return Pool.of(x=x)
        broken = x.copy()
        broken[n // 2] = np.inf if self.fault == "infinite" else np.nan
        faulty = {
            "no rows": lambda: Pool.of(x=x[:0]),
            "few rows": lambda: Pool.of(x=x[1:]),
            "more rows": lambda: Pool.of(x=np.concatenate([x, x])),
            "other column": lambda: Pool.of(y=x),
            "another column": lambda: Pool.of(x=x, y=x),
            "float32": lambda: Pool.of(x=x.astype(np.float32)),
            "whole numbers": lambda: Pool.of(x=x.astype(np.int64)),
            "another replicate": lambda: Pool.of(x=np.hstack([x, x])),
            "nan": lambda: Pool.of(x=broken),
            "infinite": lambda: Pool.of(x=broken),
            "no pool": lambda: {"x": x},
            "equal rows": lambda: Pool.of(x=np.repeat(x[:1], n, axis=0)),
            "nearly equal rows": lambda: Pool.of(x=x[:1] + 1e-6 * x),
        }
        return faulty.get(self.fault, lambda: Pool.of(x=x))()

    def save(self, folder):
        super().save(folder)
        np.save(folder / "generation.npy", self.generation)

    def load(self, folder):
        super().load(folder)
        self.generation = int(np.load(folder / "generation.npy"))


@dataclass(frozen=True)
class FaultyData(GaussianData):
    """Gaussian data whose held-out split contains a NaN or has the wrong dtype."""

    fault: Literal["nan", "float32"] = "nan"

    def load(self, *, eval_size):
        splits = dict(super().load(eval_size=eval_size))
        x = splits["heldout"].array("x").copy()
        x[1] = np.nan if self.fault == "nan" else 0
        splits["heldout"] = splits["heldout"].with_data(Pool.of(x=x if self.fault == "nan" else x.astype(np.float32)))
        return splits
