"""Every feature model: the same after load(save()), told by its seed, and able to tell real from collapsed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from autophagy.common.features import frechet_distance, precision_recall
from autophagy.common.plugins import Part, registered
from autophagy.common.pool import Pool
from autophagy.text.data import Bible
from autophagy.text.ngram import NGram
from autophagy.text.tokens import END, train_bpe
from autophagy.vision.data import Digits
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

SMALL = {
    "classifier": {"features": 16, "training": {"steps": 20}},
    "pixels": {},
    "lsa": {"features": 16},
    "reader": {"training": {"steps": 30, "batch": 16, "learning_rate": 3e-3}},
}


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    """A tiny random GPT-2 in the format the hub serves."""
    folder = tmp_path_factory.mktemp("encoder")
    bpe = train_bpe(["in the beginning was the word"], 300)
    PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=END, bos_token=END).save_pretrained(folder)
    with torch.random.fork_rng():
        GPT2LMHeadModel(GPT2Config(vocab_size=300, n_positions=160, n_embd=16, n_layer=1, n_head=2)).save_pretrained(folder)
    return folder


@pytest.fixture(params=[*SMALL, "encoder"])
def part(request):
    settings = SMALL[request.param] if request.param in SMALL else {"pretrained": str(request.getfixturevalue("encoder"))}
    return Part.parse("features", {"use": request.param, **settings})


def rows_for(part, n=120):
    data = Digits() if part.use in ("classifier", "pixels") else Bible(words=24)
    splits = data.load(eval_size=n)
    return splits["train"].slice(0, 600), splits["heldout"], splits["control"]


def test_all_but_the_one_that_must_be_fetched_are_tested_here():
    assert {*SMALL, "encoder", "inception"} == set(registered("features"))


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


@pytest.mark.parametrize("name", ["lsa", "reader"])
def test_text_features_see_an_n_gram_model_collapse(name, tmp_path):
    """Real against real, generation 0 and generation 3 of a chain: the distance rises, precision falls."""
    splits = Bible(words=32).load(eval_size=200)
    model = Part.parse("features", {"use": name, **SMALL[name]}).build()
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
