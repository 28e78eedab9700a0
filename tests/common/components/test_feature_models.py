"""Every feature model: the same after load(save()), told by its seed, and able to tell real from collapsed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from autophagy.common.components.distances import frechet_distance, precision_recall
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

SMALL = {
    "classifier": {"features": 16, "training": {"steps": 20}},
    "pixels": {},
    "lsa": {"features": 16},
    "lm-embedding": {"training": {"steps": 30, "batch": 16, "learning_rate": 3e-3}},
}


PRETRAINED = {"encoder": "encoder", "image-encoder": "image_encoder"}
"""Those that need a checkpoint, and the fixture that makes one."""


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A tiny random GPT-2 in the format the hub serves."""
    folder = tmp_path_factory.mktemp("encoder")
    bpe = train_bpe(["in the beginning was the word"], 300)
    PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=END, bos_token=END).save_pretrained(folder)
    with torch.random.fork_rng():
        GPT2LMHeadModel(GPT2Config(vocab_size=300, n_positions=160, n_embd=16, n_layer=1, n_head=2)).save_pretrained(folder)
    return folder


MEAN, SPREAD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
SMALL_VISION = {"image_size": 28, "patch_size": 14, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


def vision_checkpoint(folder, model):
    """A vision model in the format the hub serves, with the image processor of DINOv2 made small."""
    BitImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 28, "width": 28}, image_mean=MEAN, image_std=SPREAD).save_pretrained(
        folder
    )
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def image_encoder(tmp_path_factory):
    """A tiny random DINOv2."""
    with torch.random.fork_rng():
        return vision_checkpoint(tmp_path_factory.mktemp("image-encoder"), Dinov2Model(Dinov2Config(**SMALL_VISION)))


@pytest.fixture(params=[*SMALL, *PRETRAINED])
def part(request):
    settings = SMALL[request.param] if request.param in SMALL else {"pretrained": str(request.getfixturevalue(PRETRAINED[request.param]))}
    return ComponentSpec.parse("features", {"use": request.param, **settings})


def rows_for(part, n=120):
    data = Digits() if part.use in ("classifier", "pixels", "image-encoder") else Bible(words=24)
    splits = data.load(eval_size=n)
    return splits["train"].slice(0, 600), splits["heldout"], splits["control"]


def test_all_but_the_one_that_must_be_fetched_are_tested_here():
    assert {*SMALL, *PRETRAINED, "inception"} == set(registered("features"))


def test_a_feature_model_is_the_same_after_load_and_save(part, tmp_path):
    train, heldout, _ = rows_for(part)
    before = torch.get_rng_state(), np.random.get_state()[1].tolist()
    model, again, loaded = part.build(), part.build(), part.build()
    model.fit(train, seed=1, scratch=tmp_path)
    again.fit(train, seed=1, scratch=tmp_path)
    model.save(tmp_path)
    loaded.load(tmp_path)
    found = model(heldout)
    assert found["features"].dtype == np.float32 and len(found["features"]) == len(heldout)
    assert np.isfinite(found["features"]).all()
    for other in (again, loaded):
        for name, values in other(heldout).items():
            assert np.array_equal(values, found[name]), name
    part_of = model(heldout.slice(0, 7))["features"]
    assert np.allclose(part_of, found["features"][:7], atol=1e-5), "a row's features depend on its company"
    assert torch.equal(torch.get_rng_state(), before[0]) and np.random.get_state()[1].tolist() == before[1]
    text = "text" in heldout
    collapsed = Pool.of(text=["a"] * 30) if text else Pool.of(image=np.zeros((30, 8, 8, 1), np.uint8))
    assert np.isfinite(model(collapsed)["features"]).all()


@pytest.mark.parametrize("name", ["lsa", "lm-embedding"])
def test_text_features_see_an_n_gram_model_collapse(name, tmp_path):
    """Real against real, generation 0 and generation 3 of a chain: the distance rises, precision falls."""
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
    distances = [frechet_distance(model(shown)["features"], real) for shown in pools]
    precisions = [precision_recall(model(shown)["features"], real)[0] for shown in pools]
    assert distances[0] < distances[1] < distances[4]
    assert precisions[0] > precisions[1] > precisions[4]


@pytest.mark.parametrize("colours", [1, 3])
def test_an_image_encoder_sees_the_whole_image_as_its_checkpoint_wants_it(colours, image_encoder, tmp_path):
    """Its features are the normalised CLS token for images that were resized and normalised here."""
    images = np.random.default_rng(0).integers(0, 256, (70, 10, 10, colours), dtype=np.uint8)
    model = ComponentSpec.parse("features", {"use": "image-encoder", "pretrained": str(image_encoder)}).build()
    model.fit(Pool.of(image=images), seed=0, scratch=tmp_path)
    planes = torch.from_numpy(images).permute(0, 3, 1, 2).expand(-1, 3, -1, -1)
    resized = functional.resize(planes, [28, 28], interpolation=functional.InterpolationMode.BICUBIC, antialias=True)
    wanted = (resized / 255 - torch.tensor(MEAN).view(3, 1, 1)) / torch.tensor(SPREAD).view(3, 1, 1)
    with torch.inference_mode():
        states = Dinov2Model.from_pretrained(image_encoder)(pixel_values=wanted).last_hidden_state
    assert np.allclose(model(Pool.of(image=images))["features"], states[:, 0].numpy(), atol=1e-4)


def test_checkpoints_that_cannot_sum_up_images_are_refused(encoder, tmp_path):
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
        fit(vision_checkpoint(tmp_path / "headless", headless))
    BitImageProcessor().save_pretrained(encoder)
    with pytest.raises(UserError, match="holds a GPT2Model, which is not an image-only model"):
        fit(encoder)
