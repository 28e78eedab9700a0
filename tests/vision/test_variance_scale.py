"""`sampling.variance_scale` (lambda) multiplies the variance of the noise in all four generators that have it.

Version 0.1 called the setting `scale`. In `gaussian` and `gmm` it multiplied the variance, in `vae` and `diffusion` the standard
deviation. Old configs must give the same cache keys and the same samples as before.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
from autophagy.analytic import gaussian
from autophagy.common.config.registry import ComponentSpec
from autophagy.common.core.random_streams import stream
from autophagy.vision import chunks, diffusion_network
from hypothesis import given
from hypothesis import strategies as st
from support.tiny import TINY, small_pool

SCALE = 0.7
OF_VARIANCE, OF_DEVIATION = ("gaussian", "gmm"), ("vae", "diffusion")
GENERATORS = (*OF_VARIANCE, *OF_DEVIATION)


class ScaledNoise:
    """A random generator whose normal numbers are multiplied by a factor."""

    def __init__(self, rng, factor):
        self._rng, self._factor = rng, factor

    def standard_normal(self, *args, **settings):
        return self._factor * self._rng.standard_normal(*args, **settings)

    def __getattr__(self, name):
        return getattr(self._rng, name)


def spec(name, **sampling):
    settings = TINY[name]
    return ComponentSpec.parse("generator", {**settings, "sampling": {**settings.get("sampling", {}), **sampling}})


def sample(name, folder, **sampling):
    """50 rows of a generator that is fitted with the default sampling settings and samples with these, float64."""
    fitted, model = spec(name).build(), spec(name, **sampling).build()
    pool = small_pool(model.modality).only(list(model.columns))
    fitted.fit(pool, seed=0, scratch=folder)
    fitted.save(folder)
    model.load(folder)
    return model.sample(50, seed=1).array(model.columns[0]).astype(np.float64)


def with_scaled_noise(monkeypatch, factor):
    for module in (gaussian, chunks):
        monkeypatch.setattr(module, "stream", lambda *name: ScaledNoise(stream(*name), factor))
    noise = diffusion_network._noise
    monkeypatch.setattr(diffusion_network, "_noise", lambda *args, **settings: (factor * values for values in noise(*args, **settings)))


@pytest.mark.parametrize("name", GENERATORS)
def test_old_config_keeps_its_recipe(name):
    old = spec(name, scale=SCALE)
    assert old.recipe["sampling"]["scale"] == SCALE and "variance_scale" not in old.recipe["sampling"]
    variance = SCALE if name in OF_VARIANCE else SCALE**2
    assert old.settings["sampling"]["variance_scale"] == variance
    assert spec(name, variance_scale=variance).recipe == old.recipe


@given(st.floats(min_value=1e-3, max_value=1e3))
def test_recipes_of_any_scale_are_unchanged(scale):
    """The new setting holds the square. Its root must be exactly the old number, or the cache key would change."""
    for name in GENERATORS:
        assert spec(name, scale=scale).recipe["sampling"]["scale"] == scale


@pytest.mark.parametrize("name", GENERATORS)
def test_old_config_gives_the_same_samples_as_before(name, tmp_path, monkeypatch):
    samples = sample(name, tmp_path, scale=SCALE)
    with_scaled_noise(monkeypatch, math.sqrt(SCALE) if name in OF_VARIANCE else SCALE)
    expected = sample(name, tmp_path)
    assert np.allclose(samples, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", GENERATORS)
def test_variance_scale_multiplies_the_variance_of_the_noise(name, tmp_path, monkeypatch):
    samples = sample(name, tmp_path, variance_scale=0.49)
    with_scaled_noise(monkeypatch, math.sqrt(0.49))
    expected = sample(name, tmp_path)
    assert np.allclose(samples, expected, rtol=1e-12, atol=0)


@pytest.mark.parametrize("name", GENERATORS)
def test_variance_scale_changes_the_samples(name, tmp_path):
    assert not np.array_equal(sample(name, tmp_path, variance_scale=0.49), sample(name, tmp_path))


def test_variance_of_gaussian_samples_is_lambda_times_the_fitted_variance(tmp_path):
    model = spec("gaussian", variance_scale=0.49).build()
    pool = small_pool("analytic", 500)
    model.fit(pool, seed=0, scratch=tmp_path)
    variance = model.sample(20_000, seed=1).array("x").var(axis=0)
    assert variance == pytest.approx(0.49 * model.covariance[:, 0, 0], rel=0.05)
