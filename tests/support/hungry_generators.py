"""Generators that use up what a machine has, as long as a file says so."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from autophagy.analytic.gaussian import Gaussian


@dataclass
class Hungry(Gaussian):
    """From generation 2 on it asks for memory that no machine has, or is killed as by a kernel that has none left.

    HUNGRY: a file that says for what; if it is not there, this is an ordinary Gaussian.
    """

    def fit(self, pool, *, seed, scratch, fresh=False):
        fitted = super().fit(pool, seed=seed, scratch=scratch, fresh=fresh)
        wants = Path(os.environ["HUNGRY"])
        if wants.exists() and int(pool.array("_generation").max()) >= 1:
            self.eat(wants.read_text())
        return fitted

    def eat(self, what):
        if what == "numpy":
            np.ones(10**15)
        elif what == "torch":
            import torch

            torch.ones(10**15)
        else:
            os.kill(os.getpid(), signal.SIGKILL)
