"""A Gaussian that logs its fits, so that tests can count how often each fit is computed."""

from __future__ import annotations

import os
from dataclasses import dataclass

import numpy as np
from autophagy.analytic.gaussian import Gaussian


@dataclass
class LoggingGaussian(Gaussian):
    """Appends a line to a file for every fit. Two environment variables control it:

    - `FIT_LOG`: the path of the file. No file is written if it is unset.
    - `FIT_OFFSET`: a number that is added to every fitted mean. It simulates a machine that computes other values.
    """

    def fit(self, pool, *, seed, scratch, fresh=False):
        result = super().fit(pool, seed=seed, scratch=scratch, fresh=fresh)
        self.mean = self.mean + np.float64(os.environ.get("FIT_OFFSET", "0"))
        if path := os.environ.get("FIT_LOG"):
            with open(path, "a") as file:
                file.write(f"{pool.digest} {seed}\n")
        return result
