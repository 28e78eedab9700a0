"""Image data and image generators."""

from __future__ import annotations

import math

import numpy as np
import pytest
from autophagy import UserError
from autophagy.common.config.registry import ComponentSpec
from autophagy.common.core.pool import Pool
from autophagy.vision.data import MNIST, Digits, ImageFolder
from autophagy.vision.features import Classifier, Inception, Pixels
from autophagy.vision.pixels import from_unit, to_unit
from PIL import Image
from support.mnist_files import write_mnist
from support.tiny import TINY_VAE, small_pool


def test_grey_levels_survive_the_way_there_and_back():
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    assert np.array_equal(from_unit(to_unit(levels)), levels)
    assert from_unit(np.array([-3.0, 3.0])).tolist() == [0, 255]


def test_digits_are_all_there_and_in_one_split_each():
    splits = Digits().load(eval_size=400)
    assert {name: len(pool) for name, pool in splits.items()} == {"heldout": 400, "control": 400, "train": 997}
    assert splits["train"].array("image").shape == (997, 8, 8, 1)
    assert splits["train"].array("image").max() == 255
    assert set(splits["train"].list("label")) == set(range(10))


def test_mnist_is_read_where_it_lies_and_never_fetched_unasked(tmp_path):
    write_mnist(tmp_path)
    splits = MNIST(root=str(tmp_path)).load(eval_size=10)
    assert splits["train"].array("image").shape == (40, 28, 28, 1)
    with pytest.raises(UserError, match="data.root: MNIST cannot be read from"):
        MNIST(root=str(tmp_path / "nothing")).load(eval_size=10)


def test_image_folders_with_and_without_classes(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(12):
        folder = tmp_path / f"class-{number % 3}"
        folder.mkdir(exist_ok=True)
        mode = ("RGB", "L", "RGBA", "P")[number % 4]
        Image.fromarray(rng.integers(0, 256, (20, 10 + number, 3), dtype=np.uint8)).convert(mode).save(folder / f"{number}.png")
    splits = ImageFolder(path=str(tmp_path), size=8).load(eval_size=3)
    assert splits["train"].array("image").shape == (6, 8, 8, 3)
    assert "label" in splits["train"]
    assert "label" not in ImageFolder(path=str(tmp_path / "class-0"), size=8).load(eval_size=1)["train"]
    whole = (tmp_path / "class-0" / "0.png").read_bytes()
    (tmp_path / "class-0" / "0.png").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="0.png cannot be read"):
        ImageFolder(path=str(tmp_path), size=8).load(eval_size=3)
    with pytest.raises(UserError, match="there is no image"):
        ImageFolder(path=str(tmp_path / "nowhere")).load(eval_size=3)


def test_the_vae_learns_and_lambda_below_1_narrows_what_it_makes(tmp_path):
    pool = Digits().load(eval_size=100)["train"].only(["image"])
    settings = {**TINY_VAE, "latent": 8, "hidden": 64, "training": {"steps": 300, "batch": 64, "learning_rate": 2e-3}}
    model, narrow = (
        ComponentSpec.parse("generator", {**settings, "sampling": {"variance_scale": scale**2}}).build() for scale in (1.0, 0.3)
    )
    model.fit(pool, seed=0, scratch=tmp_path)
    model.save(tmp_path)
    narrow.load(tmp_path)
    spread = [float(generated.sample(200, seed=1).array("image").var(axis=0).mean()) for generated in (model, narrow)]
    assert spread[1] < 0.5 * spread[0]
    noise = Pool.of(image=np.random.default_rng(0).integers(0, 256, (50, 8, 8, 1), dtype=np.uint8))
    assert model.score(pool).mean() < model.score(noise).mean(), "digits are likelier than noise"


def test_the_mixture_has_the_moments_of_what_it_learned(tmp_path):
    """On digits printed in middle greys, where nothing has to be clipped at black or white."""
    images = (96 + Digits().load(eval_size=100)["train"].array("image") // 4).astype(np.uint8)
    model = ComponentSpec.parse("generator", {"use": "gmm", "components": 5, "dimensions": 64}).build()
    model.fit(Pool.of(image=images), seed=0, scratch=tmp_path)
    generated, real = (x.astype(float).reshape(len(x), -1) for x in (model.sample(5000, seed=1).array("image"), images))
    assert generated.mean(0) == pytest.approx(real.mean(0), abs=1.5)
    assert generated.var(0).mean() == pytest.approx(real.var(0).mean(), rel=0.05)


@pytest.mark.parametrize("images", [np.zeros((20, 4, 4, 1), np.uint8), np.full((20, 4, 4, 3), 200, np.uint8)])
def test_the_mixture_learns_from_images_that_are_all_equal(images, tmp_path):
    model = ComponentSpec.parse("generator", "gmm").build()
    model.fit(Pool.of(image=images), seed=0, scratch=tmp_path)
    generated = model.sample(10, seed=1).array("image")
    assert generated.shape[1:] == images.shape[1:]
    assert np.abs(generated.astype(int) - images[:10]).max() < 20


def test_the_bound_is_that_of_a_gaussian_decoder(tmp_path):
    """With the decoder's mean and sigma known and the posterior equal to the prior, the bound is a plain Gaussian NLL."""
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


def test_feature_models_say_what_they_need(tmp_path):
    pool = small_pool("vision", 30)
    with pytest.raises(UserError, match="'classifier' needs labelled images"):
        Classifier().fit(pool.only(["image"]), seed=0, scratch=tmp_path)
    assert Pixels()(pool)["features"].shape == (30, 64)
    classifier = Classifier(features=8)
    classifier.fit(pool, seed=0, scratch=tmp_path)
    found = classifier(pool)
    assert found["features"].shape == (30, 8)
    assert found["probabilities"].sum(1) == pytest.approx(np.ones(30), abs=1e-5)


def test_the_classifier_knows_digits(tmp_path):
    splits = Digits().load(eval_size=400)
    classifier = Classifier()
    classifier.fit(splits["train"], seed=0, scratch=tmp_path)
    right = classifier(splits["heldout"])["probabilities"].argmax(1) == splits["heldout"].array("label")
    assert right.mean() > 0.95


def test_inception_without_its_weights_says_so(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    import torch

    def unreachable(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", unreachable)
    monkeypatch.setattr("torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url", unreachable, raising=False)
    with pytest.raises(UserError, match="Inception's weights cannot be had"):
        Inception().fit(small_pool("vision"), seed=0, scratch=tmp_path)
