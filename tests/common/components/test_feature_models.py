"""Every feature model is deterministic, survives saving and separates real from collapsed data."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from autophagy.common.components.distances import frechet_distance, precision_recall
from autophagy.common.components.pretend_device import pretend_device, register
from autophagy.common.config.registry import ComponentSpec, registered
from autophagy.common.core.errors import UserError
from autophagy.common.core.pool import Pool
from autophagy.text.data import Bible
from autophagy.text.ngram import NGram
from autophagy.text.tokenizer import END, train_bpe
from autophagy.vision.data import Digits
from torchvision.transforms.v2 import functional
from transformers import (
    BitImageProcessor,
    Dinov2Config,
    Dinov2Model,
    GPT2Config,
    GPT2LMHeadModel,
    PreTrainedTokenizerFast,
    ViTConfig,
    ViTModel,
)

register()  # before any test computes gradients

SMALL = {
    "classifier": {"features": 16, "training": {"steps": 20}},
    "pixels": {},
    "lsa": {"features": 16},
    "lm-embedding": {"training": {"steps": 30, "batch": 16, "learning_rate": 3e-3}},
}


PRETRAINED = {"encoder": "encoder", "image-encoder": "image_encoder"}
"""Feature models that need a pretrained model, and the fixture that creates one."""


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A tiny random GPT-2 in Hugging Face format."""
    folder = tmp_path_factory.mktemp("encoder")
    bpe = train_bpe(["in the beginning was the word"], 300)
    PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=END, bos_token=END).save_pretrained(folder)
    with torch.random.fork_rng():
        GPT2LMHeadModel(GPT2Config(vocab_size=300, n_positions=160, n_embd=16, n_layer=1, n_head=2)).save_pretrained(folder)
    return folder


MEAN, SPREAD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SMALL_VISION = {"image_size": 28, "patch_size": 14, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def save_vision_model(folder, model):
    """Save a vision model in Hugging Face format, with a small version of the image processor of DINOv2."""
    BitImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28}, image_mean=MEAN, image_std=SPREAD).save_pretrained(
        folder
    )
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def image_encoder(tmp_path_factory):
    """A tiny random DINOv2."""
    with torch.random.fork_rng():
        return save_vision_model(tmp_path_factory.mktemp("image-encoder"), Dinov2Model(Dinov2Config(**SMALL_VISION)))


@pytest.fixture(params=[*SMALL, *PRETRAINED])
def part(request):
    settings = SMALL[request.param] if request.param in SMALL else {"pretrained": str(request.getfixturevalue(PRETRAINED[request.param]))}
    return ComponentSpec.parse("features", {"use": request.param, **settings})


def rows_for(part, n=120):
    data = Digits() if part.use in ("classifier", "pixels", "image-encoder") else Bible(words=24)
    splits = data.load(eval_size=n)
    return splits["train"].slice(0, 600), splits["heldout"], splits["control"]


def test_all_feature_models_except_downloads_are_tested():
    assert {*SMALL, *PRETRAINED, "inception"} == set(registered("features"))


def test_feature_model_is_deterministic_on_any_device_and_survives_saving(part, tmp_path):
    train, heldout, _ = rows_for(part)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    model, again, loaded = part.build(), part.build(), part.build()
    model.fit(train, seed=1, scratch=tmp_path)
    model.save(tmp_path)
    with pretend_device():
        again.fit(train, seed=1, scratch=tmp_path)
        loaded.load(tmp_path)
    features = model(heldout)
    assert features["features"].dtype == np.float32 and len(features["features"]) == len(heldout)
    assert np.isfinite(features["features"]).all()
    for other in (again, loaded):
        with pretend_device():
            outputs = other(heldout)
        for name, values in outputs.items():  # attention adds in another order on the device
            exact = part.use not in ("lm-embedding", *PRETRAINED)
            assert np.array_equal(values, features[name]) if exact else values == pytest.approx(features[name], abs=1e-3), name
    part_of = model(heldout.slice(0, 7))["features"]
    assert np.allclose(part_of, features["features"][:7], atol=1e-5), "the features of a row must not depend on the other rows"
    assert torch.equal(torch.get_rng_state(), before[0]) and np.random.get_state()[1].tolist() == before[1]
    text = "text" in heldout
    collapsed = Pool.of(text=["a"] * 30) if text else Pool.of(image=np.zeros((30, 8, 8, 1), np.uint8))
    assert np.isfinite(model(collapsed)["features"]).all()


@pytest.mark.parametrize("name", ["classifier", "lm-embedding"])
def test_features_in_bfloat16_are_close_to_float32(name, tmp_path):
    """After a short training, the mean difference is below a tenth of the standard deviation of the features."""
    outputs = {}
    for precision in ("float32", "bfloat16"):
        spec = ComponentSpec.parse("features", {"use": name, **SMALL[name], "training": {"steps": 5, "precision": precision}})
        model = spec.build()
        train, heldout, _ = rows_for(spec, n=40)
        model.fit(train, seed=1, scratch=tmp_path / precision)
        outputs[precision] = model(heldout)["features"]
    assert outputs["bfloat16"].dtype == np.float32 and np.isfinite(outputs["bfloat16"]).all()
    difference = np.abs(outputs["bfloat16"] - outputs["float32"]).mean()
    assert 0 < difference < 0.1 * outputs["float32"].std()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lsa", "lm-embedding"])
def test_text_features_detect_collapse_of_an_ngram_model(name, tmp_path):
    """From real rows over generation 0 to generation 3 of a chain, the distance rises and precision falls."""
    splits = Bible(words=32).load(eval_size=200)
    model = ComponentSpec.parse("features", {"use": name, **SMALL[name]}).build()
    model.fit(splits["train"], seed=0, scratch=tmp_path)
    pools, pool = [splits["control"]], splits["train"].slice(0, 400)
    for generation in range(4):
        generator = NGram(vocabulary=1000)
        generator.fit(pool, seed=generation, scratch=tmp_path)
        pool = generator.sample(400, seed=generation)
        pools.append(pool.slice(0, 200))
    real = model(splits["heldout"])["features"]
    distances = [frechet_distance(model(rows)["features"], real) for rows in pools]
    precisions = [precision_recall(model(rows)["features"], real)[0] for rows in pools]
    assert distances[0] < distances[1] < distances[4]
    assert precisions[0] > precisions[1] > precisions[4]


@pytest.mark.parametrize("colours", [1, 3])
def test_image_encoder_resizes_and_normalises_like_its_model(colours, image_encoder, tmp_path):
    """The features equal the CLS token that the model computes for images resized and normalised in this test."""
    images = np.random.default_rng(0).integers(0, 256, (70, 10, 10, colours), dtype=np.uint8)
    model = ComponentSpec.parse("features", {"use": "image-encoder", "pretrained": str(image_encoder)}).build()
    model.fit(Pool.of(image=images), seed=0, scratch=tmp_path)
    planes = torch.from_numpy(images).permute(0, 3, 1, 2).expand(-1, 3, -1, -1)
    resized = functional.resize(planes, [28, 28], interpolation=functional.InterpolationMode.BICUBIC, antialias=True)
    prepared = (resized / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(SPREAD).view(3, 1, 1)
    with torch.inference_mode():
        states = Dinov2Model.from_pretrained(image_encoder)(pixel_values=prepared).last_hidden_state
    assert np.allclose(model(Pool.of(image=images))["features"], states[:, 0].numpy(), atol=1e-4)


def test_models_without_image_features_are_rejected(encoder, tmp_path):
    def fit(folder):
        ComponentSpec.parse("features", {"use": "image-encoder", "pretrained": str(folder)}).build().fit(
            Pool.of(), seed=0, scratch=tmp_path
        )

    with pytest.raises(UserError, match="'nobody/nothing' is neither a local folder nor a model"):
        fit("nobody/nothing")
    with pytest.raises(UserError, match="has no usable image processor"):
        fit(encoder)
    with torch.random.fork_rng():
        headless = ViTModel(ViTConfig(**SMALL_VISION, intermediate_size=16), add_pooling_layer=False)
    with pytest.raises(UserError, match=r"has no pooler\.dense\.bias, so features would be random"):
        fit(save_vision_model(tmp_path / "headless", headless))
    BitImageProcessor().save_pretrained(encoder)
    with pytest.raises(UserError, match="holds a GPT2Model, which is not an image-only model"):
        fit(encoder)
