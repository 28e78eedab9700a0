"""A generator that exhausts memory or kills its process if a file exists."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from autophagy.analytic.gaussian import Gaussian


@dataclass
class ExhaustingGaussian(Gaussian):
    """A Gaussian that fails from generation 2 on.

    The environment variable `EXHAUST` is the path of a file. If the file does not exist, the generator is an ordinary Gaussian.
    The text of the file selects the failure: `numpy` and `torch` allocate too much memory, any other text kills the process.
    """

    def fit(self, pool, *, seed, scratch, fresh=False):
        result = super().fit(pool, seed=seed, scratch=scratch, fresh=fresh)
        switch = Path(os.environ["EXHAUST"])
        if switch.exists() and int(pool.array("_generation").max()) >= 1:
            self.fail(switch.read_text())
        return result

    def fail(self, how):
        if how == "numpy":
            np.ones(10**15)
        elif how == "torch":
            import torch

            torch.ones(10**15)
        else:
            os.kill(os.getpid(), signal.SIGKILL)
