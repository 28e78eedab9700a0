"""Image generators: VAE and mixture of Gaussians. `test_diffusion.py` tests the diffusion model."""

from __future__ import annotations

import math

import numpy as np
import pytest
from autophagy.common.config.registry import ComponentSpec
from autophagy.common.core.errors import UserError
from autophagy.common.core.pool import Pool
from autophagy.vision.data import Digits
from autophagy.vision.pixels import from_unit, to_unit
from support.tiny import TINY_DIFFUSION, TINY_VAE, small_pool


def test_grey_levels_survive_conversion_and_back():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(from_unit(to_unit(levels)), levels)
    assert from_unit(np.array([-3.0, 3.0])).tolist() == [0, 255]
    with pytest.raises(UserError, match="the model generates pixels that are NaN"):
        from_unit(np.array([0.0, math.nan]))


def test_vae_learns_digits(tmp_path):
    pool = Digits().load(eval_size=100)["train"].only(["image"])
    settings = {**TINY_VAE, "latent": 8, "hidden": 64, "training": {"steps": 300, "batch": 64, "learning_rate": 2e-3}}
    model, narrow = (
        ComponentSpec.parse("generator", {**settings, "sampling": {"variance_scale": scale**2}}).build() for scale in (1.0, 0.3)
    )
    model.fit(pool, seed=0, scratch=tmp_path)
    model.save(tmp_path)
    narrow.load(tmp_path)
    variances = [float(generator.sample(200, seed=1).array("image").var(axis=0).mean()) for generator in (model, narrow)]
    assert variances[1] < 0.5 * variances[0], "lambda below 1 narrows the samples"
    noise = Pool.of(image=np.random.default_rng(0).integers(0, 256, (50, 8, 8, 1), dtype=np.uint8))
    assert model.score(pool).mean() < model.score(noise).mean(), "digits are more likely than noise"


def test_vae_bound_equals_a_gaussian_likelihood_in_a_special_case(tmp_path):
    """With all weights 0, the decoder is N(0, 1) and the posterior equals the prior, so the bound is a Gaussian likelihood."""
    import torch

    model = ComponentSpec.parse("generator", TINY_VAE).build()
    pool = small_pool("vision")
    model.fit(pool, seed=0, scratch=tmp_path)
    with torch.no_grad():
        for parameter in model._network.parameters():
            parameter.zero_()
    x = to_unit(pool.array("image")).reshape(len(pool), -1)
    expected = 0.5 * (x**2).sum(1) + 32 * math.log(2 * math.pi)
    assert model.score(pool) == pytest.approx(expected, rel=1e-5)


def test_gmm_samples_have_the_moments_of_its_training_images(tmp_path):
    """Digits in middle greys, so that no sample is clipped at black or white."""
    images = (96 + Digits().load(eval_size=100)["train"].array("image") // 4).astype(np.uint8)
    model = ComponentSpec.parse("generator", {"use": "gmm", "components": 5, "dimensions": 64}).build()
    model.fit(Pool.of(image=images), seed=0, scratch=tmp_path)
    generated, real = (x.astype(float).reshape(len(x), -1) for x in (model.sample(5000, seed=1).array("image"), images))
    assert generated.mean(0) == pytest.approx(real.mean(0), abs=1.5)
    assert generated.var(0).mean() == pytest.approx(real.var(0).mean(), rel=0.05)


@pytest.mark.parametrize("images", [np.zeros((20, 4, 4, 1), np.uint8), np.full((20, 4, 4, 3), 200, np.uint8)])
def test_gmm_fits_images_that_are_all_equal(images, tmp_path):
    model = ComponentSpec.parse("generator", "gmm").build()
    model.fit(Pool.of(image=images), seed=0, scratch=tmp_path)
    generated = model.sample(10, seed=1).array("image")
    assert generated.shape[1:] == images.shape[1:]
    assert np.abs(generated.astype(int) - images[:10]).max() < 20


@pytest.mark.parametrize("generator", [TINY_VAE, TINY_DIFFUSION, {"use": "gmm"}])
def test_detection_without_a_watermark_is_an_error(generator):
    model = ComponentSpec.parse("generator", generator).build()
    with pytest.raises(ValueError, match="sampling.watermark is not set"):
        model.detect(small_pool("vision"))
