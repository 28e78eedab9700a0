"""One battery over every generator; and the battery notices each broken promise."""

from __future__ import annotations

import numpy as np
import pytest
from autophagy.analytic.gaussian import Gaussian
from autophagy.common.components.generator import FitResult
from autophagy.common.components.generator_checks import check
from autophagy.common.config.registry import ComponentSpec, find, registered
from autophagy.common.core.pool import Pool
from support.tiny import TINY, small_pool


@pytest.mark.parametrize("name", sorted(registered("generator")))
def test_every_generator_keeps_its_promises(name):
    part = ComponentSpec.parse("generator", TINY[name])
    check(part.build, small_pool(find("generator", name).modality, generator=name))


class ReadsGlobalState(Gaussian):
    def sample(self, n, *, seed, given=None):
        return Pool.of(x=np.random.standard_normal((n, 2)))


class ChangesPool(Gaussian):
    def fit(self, pool, *, seed, scratch, fresh=False):
        fitted = super().fit(pool, seed=seed, scratch=scratch)
        pool.array("x").setflags(write=True)
        pool.array("x")[0] = 7
        return fitted


class TooFewRows(Gaussian):
    def sample(self, n, *, seed, given=None):
        return super().sample(n - 1, seed=seed)


class OtherTypes(Gaussian):
    def sample(self, n, *, seed, given=None):
        return Pool.of(x=super().sample(n, seed=seed).array("x").astype(np.float32))


class ReadsGlobalStateInAFork(Gaussian):
    def sample(self, n, *, seed, given=None):
        import torch

        with torch.random.fork_rng(devices=[]):
            return Pool.of(x=super().sample(n, seed=seed).array("x") + torch.rand(1).item())


class IgnoresSeed(Gaussian):
    def sample(self, n, *, seed, given=None):
        return super().sample(n, seed=1)


class CountsNothing(Gaussian):
    def fit(self, pool, *, seed, scratch, fresh=False):
        super().fit(pool, seed=seed, scratch=scratch)
        return FitResult.closed_form("samples", 3)


class ForgetsOnSave(Gaussian):
    def load(self, folder):
        super().load(folder)
        self.mean = self.mean * 0


class WritesPickle(Gaussian):
    def save(self, folder):
        super().save(folder)
        (folder / "model.pt").write_bytes(b"")


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        (ReadsGlobalState, "two pools|another pool|global state"),
        (ReadsGlobalStateInAFork, "is global random state read"),
        (TooFewRows, "7 rows were asked for, 6 came"),
        (OtherTypes, "came as"),
        (IgnoresSeed, "another seed gave the same pool"),
        (CountsNothing, "seen has the shape"),
        (ForgetsOnSave, "samples differently after load"),
        (WritesPickle, "pickle"),
    ],
)
def test_the_battery_names_the_broken_promise(broken, said):
    with pytest.raises(AssertionError, match=said):
        check(broken, small_pool("analytic"))


def test_arrays_of_a_pool_cannot_be_written_to():
    with pytest.raises(ValueError, match="WRITEABLE|read-only"):
        check(ChangesPool, small_pool("analytic"))
