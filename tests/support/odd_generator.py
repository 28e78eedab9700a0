"""A Gaussian that leaves a line in a file for every fit, and whose fits depend on the machine if one wants them to."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from autophagy.analytic.gaussian import Gaussian


@dataclass
class Logged(Gaussian):
    """ODD_LOG: the file. ODD_MACHINE: a number that is added to every mean."""

    def fit(self, pool, *, seed, scratch, fresh=False):
        fitted = super().fit(pool, seed=seed, scratch=scratch, fresh=fresh)
        self.mean = self.mean + np.float64(os.environ.get("ODD_MACHINE", "0"))
        if path := os.environ.get("ODD_LOG"):
            with open(path, "a") as file:
                file.write(f"{pool.digest} {seed}\n")
        return fitted
