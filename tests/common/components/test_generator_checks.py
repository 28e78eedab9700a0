"""Every built-in generator passes the generator checks on the pretend device, and the checks find generators that break a requirement."""

from __future__ import annotations

import numpy as np
import pytest
from autophagy.analytic.gaussian import Gaussian
from autophagy.common.components.generator import FitResult
from autophagy.common.components.generator_checks import check
from autophagy.common.components.pretend_device import register
from autophagy.common.config.registry import ComponentSpec, find, registered
from autophagy.common.core.pool import Pool
from support.tiny import TINY, small_pool

register()  # before any test computes gradients


@pytest.mark.parametrize("name", sorted(registered("generator")))
def test_every_built_in_generator_passes(name):
    assert name in TINY, f"add small settings for '{name}' to TINY in tests/support/tiny.py"
    spec = ComponentSpec.parse("generator", TINY[name])
    check(spec.build, small_pool(find("generator", name).modality, generator=name), device="pretend")


class DrawsOnTheDevice(Gaussian):
    def sample(self, n, *, seed, given=None):
        import torch

        return Pool.of(x=super().sample(n, seed=seed).array("x") + torch.rand(1, device="pretend").item())


class IndexesHostTensorsWithDeviceRows(Gaussian):
    def sample(self, n, *, seed, given=None):
        import torch

        rows = torch.arange(n, device="pretend")
        return Pool.of(x=torch.from_numpy(super().sample(n, seed=seed).array("x").copy())[rows].numpy())


def test_checks_on_a_device_find_code_that_works_only_on_the_cpu():
    with pytest.raises(AssertionError, match="two different pools|the global state of torch.pretend was changed"):
        check(DrawsOnTheDevice, small_pool("analytic"), device="pretend")
    with pytest.raises(RuntimeError, match="expected all tensors to be on the same device"):
        check(IndexesHostTensorsWithDeviceRows, small_pool("analytic"), device="pretend")


class ReadsGlobalState(Gaussian):
    def sample(self, n, *, seed, given=None):
        return Pool.of(x=np.random.standard_normal((n, 2)))


class ChangesPool(Gaussian):
    def fit(self, pool, *, seed, scratch, fresh=False):
        result = super().fit(pool, seed=seed, scratch=scratch)
        pool.array("x").setflags(write=True)
        pool.array("x")[0] = 7
        return result


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


class ScoresInFloat32(Gaussian):
    def score(self, pool):
        return np.zeros(len(pool), np.float32)


class DrawsFromGlobalState(Gaussian):
    def sample(self, n, *, seed, given=None):
        np.random.random()
        return super().sample(n, seed=seed)


@pytest.mark.parametrize(
    ("broken", "message"),
    [
        (ReadsGlobalState, "two different pools|same pool|global state"),
        (ReadsGlobalStateInAFork, "fit and sample with the same seeds gave two different pools"),
        (DrawsFromGlobalState, "the global state of numpy.random was changed"),
        (TooFewRows, r"sample\(7\) returned 6 rows"),
        (OtherTypes, r"the generated column 'x' has the type .*float.*\n  Expected: .*double"),
        (IgnoresSeed, "sample with another seed gave the same pool"),
        (CountsNothing, r"visit_counts has shape \(3,\).\n  Expected: shape \(20,\)"),
        (ForgetsOnSave, "a generator that was saved and loaded samples differently"),
        (WritesPickle, "save wrote a pickle: model.pt"),
        (ScoresInFloat32, r"score returned float32 of shape \(20,\)"),
    ],
)
def test_broken_requirements_are_named_and_explained(broken, message):
    with pytest.raises(AssertionError, match=message) as caught:
        check(broken, small_pool("analytic"))
    assert str(caught.value).startswith(f"{broken.__name__}: ")
    assert "Why it matters: " in str(caught.value) and "How to fix it: " in str(caught.value)


def test_arrays_of_a_pool_are_read_only():
    with pytest.raises(ValueError, match="WRITEABLE|read-only"):
        check(ChangesPool, small_pool("analytic"))
