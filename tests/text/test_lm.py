"""The language model: exact sampling, honest likelihoods, pretrained checkpoints, text data."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from autophagy import UserError
from autophagy.common.config.registry import ComponentSpec
from autophagy.common.core.pool import Pool
from autophagy.text.data import Bible, HubText, TextFile, passages
from autophagy.text.lm_decoding import SAMPLING_BATCH, continue_prompts
from autophagy.text.sampling import Sampling, token_probabilities
from autophagy.text.tokenizer import END, train_bpe
from support.tiny import TINY_LM, small_pool
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from transformers.generation import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper


def continued(model, prompts, uniforms):
    """The tokens that a model draws after prompts."""
    return continue_prompts(model.network, prompts, uniforms, ends=model.ends, sampling=model.sampling)


def sequences_of(model, texts):
    """The sequences that a model trains on."""
    return model.network.training_sequences(texts, context=model.context, ends=model.ends)


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    model = ComponentSpec.parse("generator", {**TINY_LM, "training": {"steps": 60, "batch": 8, "learning_rate": 1e-2}}).build()
    model.fit(small_pool("text", 40), seed=0, scratch=tmp_path_factory.mktemp("scratch"))
    return model


@pytest.mark.parametrize(
    ("sampling", "warpers"),
    [
        (Sampling(), []),
        (Sampling(temperature=0.5), [TemperatureLogitsWarper(0.5)]),
        (Sampling(top_k=5), [TopKLogitsWarper(5)]),
        (Sampling(top_p=0.8), [TopPLogitsWarper(0.8)]),
        (Sampling(temperature=1.7, top_k=20, top_p=0.6), [TemperatureLogitsWarper(1.7), TopKLogitsWarper(20), TopPLogitsWarper(0.6)]),
    ],
)
def test_the_distribution_is_the_one_transformers_samples_from(sampling, warpers):
    logits = 3 * torch.randn(50, 100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = logits
    for warper in warpers:
        expected = warper(None, expected)
    found = token_probabilities(logits, sampling)
    torch.testing.assert_close(found / found.sum(-1, keepdim=True), expected.softmax(-1))


def test_first_tokens_follow_the_models_distribution(fitted):
    """20,000 draws of the first token against its exact probabilities: chi-squared within 5 standard deviations."""
    n, end = 20_000, fitted.network.end
    uniforms = np.random.default_rng(0).random((n, fitted.context))
    firsts = [
        row[0]
        for start in range(0, n, SAMPLING_BATCH)
        for row in continued(fitted, [[end]] * min(SAMPLING_BATCH, n - start), uniforms[start : start + SAMPLING_BATCH])
    ]
    with torch.inference_mode():
        logits = fitted.network.weights(torch.tensor([[end]])).logits[0, -1].double().clone()
        logits[end] = -torch.inf
    expected = n * logits.softmax(-1).numpy()
    common = expected >= 5
    counts = np.bincount(firsts, minlength=len(expected))
    chi2 = ((counts - expected)[common] ** 2 / expected[common]).sum()
    assert abs(chi2 - common.sum()) < 5 * np.sqrt(2 * common.sum())


def test_cached_sampling_follows_the_full_forward_pass(fitted):
    """Redraw every token of made rows from logits computed without a cache and with the same uniforms."""
    end, uniforms = fitted.network.end, np.random.default_rng(1).random((6, fitted.context))
    rows = continued(fitted, [[end]] * 6, uniforms)
    for row, draws in zip(rows, uniforms, strict=True):
        with torch.inference_mode():
            logits = fitted.network.weights(torch.tensor([[end, *row]])).logits[0].double()
        for step, token in enumerate(row):
            chances = logits[step].softmax(-1)
            if step == 0:
                chances[end] = 0
            below = chances.cumsum(0) / chances.sum()
            assert below[token] >= draws[step] - 1e-5
            assert token == 0 or below[token - 1] <= draws[step] + 1e-5


def test_score_is_the_sum_over_windows_whatever_the_company(fitted):
    pool = small_pool("text", 40)
    scores = fitted.score(pool)
    alone = np.concatenate([fitted.score(pool.slice(row, row + 1)) for row in range(5)])
    assert np.array_equal(scores[:5], alone)
    end, tokens = fitted.network.end, fitted.network.encode(pool.list("text"))
    expected = 0.0
    for start in range(0, len(tokens[0]), fitted.context):
        window = torch.tensor([[end, *tokens[0][start : start + fitted.context]]])
        with torch.inference_mode():
            logs = fitted.network.weights(window).logits[0].double().log_softmax(-1)
        expected -= sum(float(logs[step, token]) for step, token in enumerate(window[0, 1:].tolist()))
    assert scores[0] == pytest.approx(expected, rel=1e-4)
    assert fitted.tokens(pool).tolist() == [len(row) for row in tokens]


def test_an_over_confident_model_has_a_finite_likelihood(fitted):
    """Collapsed models are over-confident: a logit gap of 110 must cost about 110 nats, not infinity."""
    logits = torch.zeros(1, 2, 10)
    logits[0, 0, 3] = 110.0
    loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), torch.tensor([[5, 1]]), reduction="none")
    assert float(loss[0, 0]) == pytest.approx(110, rel=1e-5)


def test_prompts_are_continued_and_left_out(fitted):
    prompts = small_pool("text", 9)
    generated = fitted.sample(9, seed=1, given=prompts)
    assert generated.digest != fitted.sample(9, seed=1).digest
    end = fitted.network.end
    rows = continued(fitted, [[end, 5, 6, 7]] * 4, np.full((4, fitted.context), 0.5))
    assert max(map(len, rows)) <= fitted.context - fitted.prompt_tokens
    with pytest.raises(ValueError, match="10 rows to generate, but only 9 prompts"):
        fitted.sample(10, seed=1, given=prompts)


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory):
    """A tiny random GPT-2 checkpoint in the format the hub serves."""
    folder = tmp_path_factory.mktemp("gpt2")
    bpe = train_bpe(small_pool("text").list("text"), 300)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=END, bos_token=END, pad_token=END)
    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(vocab_size=300, n_positions=32, n_embd=16, n_layer=1, n_head=2)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_pretrained_checkpoint_is_fine_tuned_from_its_own_weights(pretrained, tmp_path):
    part = ComponentSpec.parse(
        "generator",
        {
            "use": "causal-lm",
            "pretrained": str(pretrained),
            "context": 12,
            "prompt_tokens": 3,
            "training": {"steps": 1, "learning_rate": 1e-9},
        },
    )
    model = part.build()
    model.fit(small_pool("text"), seed=0, scratch=tmp_path)
    original = GPT2LMHeadModel.from_pretrained(pretrained)
    torch.testing.assert_close(model.network.weights.transformer.wte.weight, original.transformer.wte.weight, atol=1e-6, rtol=0)
    assert set(model.inputs()) >= {"model.safetensors", "config.json", "tokenizer.json"}
    assert len(model.sample(3, seed=0)) == 3


def test_a_checkpoint_is_used_up_to_its_very_last_position(pretrained, tmp_path):
    settings = {"use": "causal-lm", "pretrained": str(pretrained), "context": 32, "prompt_tokens": 3, "training": {"steps": 1}}
    model, pool = ComponentSpec.parse("generator", settings).build(), Pool.of(text=[" ".join(small_pool("text").list("text"))] * 3)
    model.fit(pool, seed=0, scratch=tmp_path)
    assert (model.tokens(pool) > 32).all()
    assert np.isfinite(model.score(pool)).all()
    assert len(model.sample(3, seed=0, given=pool)) == 3


def test_checkpoints_are_refused_with_reasons(pretrained, tmp_path):
    def fit(**settings):
        part = ComponentSpec.parse(
            "generator", {"use": "causal-lm", "context": 12, "prompt_tokens": 3, "training": {"steps": 1}, **settings}
        )
        part.build().fit(small_pool("text"), seed=0, scratch=tmp_path)

    with pytest.raises(UserError, match="'nobody/nothing' is neither a local folder nor a model"):
        fit(pretrained="nobody/nothing")
    (tmp_path / "pickled").mkdir()
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"\x80")
    with pytest.raises(UserError, match="Pickled weights are not loaded"):
        fit(pretrained=str(tmp_path / "pickled"))
    with pytest.raises(UserError, match="generator.context: 40 tokens, but the model in .* has 32 positions"):
        fit(pretrained=str(pretrained), context=40)
    with pytest.raises(UserError, match="has its own architecture"):
        fit(pretrained=str(pretrained), vocabulary=500)


# ---- data ---------------------------------------------------------------------------------------------------------


def test_passages_are_cut_at_words_and_short_rests_dropped():
    assert passages(["a b c d e", "f"], words=4) == ["a b c d"]
    assert passages(["a b c d e f"], words=4) == ["a b c d", "e f"]


def test_the_bible_is_real_prose_in_two_testaments():
    splits = Bible(words=48).load(eval_size=100)
    assert len(splits["base"]) > 10_000
    assert len(splits["train"]) > 3_000
    assert any("In the beginning God created" in text for text in splits["base"].list("text")[:2])
    assert not any(set("[]") & set(text) for text in splits["train"].list("text"))
    seen = [set(splits[name].list("text")) for name in ("train", "heldout", "control")]
    assert not seen[0] & seen[1]
    assert not seen[1] & seen[2]


@pytest.mark.parametrize("suffix", [".txt", ".jsonl", ".parquet"])
def test_local_files_of_three_kinds(tmp_path, suffix):
    documents = [" ".join(f"w{number}x{word}" for word in range(30)) for number in range(40)]
    path = tmp_path / f"data{suffix}"
    if suffix == ".parquet":
        Pool.of(text=documents).table.to_pandas().to_parquet(path)
    else:
        path.write_text("\n".join(json.dumps({"text": text}) if suffix == ".jsonl" else text for text in documents))
    splits = TextFile(path=str(path), words=10).load(eval_size=5)
    assert {name: len(pool) for name, pool in splits.items()} == {"heldout": 5, "control": 5, "train": 50, "base": 60}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.txt", b"\xff\xfe caf\xe9", "is not UTF-8: byte 0 is 0xff"),
        ("a.txt", b"", "has 0 rows; eval_size = 5 alone takes 10"),
        ("a.jsonl", b'{"text": 1}', "record 0 of .* has no text in 'text'"),
        ("a.jsonl", b"{nope", "line 1 is not JSON"),
        ("a.jsonl", b'{"text": "\\ud800"}', "record 0 of .* holds half a character"),
        ("a.parquet", b"PAR1 not really", "cannot be read"),
    ],
)
def test_files_that_cannot_be_used_are_refused_with_reasons(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=said):
        TextFile(path=str(tmp_path / name), words=10).load(eval_size=5)


def test_line_separators_inside_json_do_not_end_a_line(tmp_path):
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "a\u2028b " * 200}, ensure_ascii=False))
    assert sum(map(len, TextFile(path=str(tmp_path / "a.jsonl"), words=10).load(eval_size=5).values())) == 40


def test_a_row_that_fits_ends_and_one_that_does_not_is_counted(fitted):
    start, end = fitted.network.start, fitted.network.end
    short, long = sequences_of(fitted, ["the", "the lord said " * 20])
    assert short[0] == start
    assert short[-1] == end
    assert len(long) == fitted.context + 1
    assert long[-1] != end


@pytest.mark.parametrize("ends", [True, False])
def test_passages_without_ends_keep_their_length_however_often_they_are_learned(tmp_path, ends):
    """Rows of 8 tokens, continued from prompts of 8: where every row has an end, the next generation's are shorter."""
    settings = {**TINY_LM, "context": 16, "prompt_tokens": 8, "ends": ends, "training": {"steps": 80, "learning_rate": 1e-2}}
    model, prompts = ComponentSpec.parse("generator", settings).build(), small_pool("text", 40)
    pool, lengths = prompts, []
    for generation in range(3):
        model.fit(pool, seed=generation, scratch=tmp_path)
        rows = continued(
            model, [[model.network.start, *row[:8]] for row in model.network.encode(prompts.list("text"))], np.full((40, 16), 0.5)
        )
        lengths += [len(row) for row in rows]
        pool = model.sample(40, seed=generation, given=prompts)
    assert max(lengths) == 8
    assert (min(lengths) == 8) is not ends


def test_a_passage_is_learned_without_an_end(fitted, tmp_path):
    passages_only = ComponentSpec.parse("generator", {**TINY_LM, "ends": False}).build()
    counted = passages_only.fit(small_pool("text", 40), seed=0, scratch=tmp_path)
    end = passages_only.network.end
    short, long = sequences_of(passages_only, ["the", "the lord said " * 20])
    assert end not in [*short[1:], *long[1:]]
    assert [*short, end] == sequences_of(fitted, ["the"])[0]
    assert long == sequences_of(fitted, ["the lord said " * 20])[0]
    sequences = sequences_of(passages_only, small_pool("text", 40).list("text"))
    assert counted.stats["rows_cut_at_context"] == pytest.approx(np.mean([len(sequence) == 13 for sequence in sequences]))


def test_a_hub_that_cannot_be_reached_is_one_clear_message():
    with pytest.raises(UserError, match="data.path: data set 'nobody/nothing' cannot be loaded"):
        HubText(path="nobody/nothing").load(eval_size=5)


def test_a_hub_data_set_is_read_like_any_other(tmp_path):
    """The hub's loader on a folder in the hub's format."""
    rows = [json.dumps({"text": " ".join(f"w{number}x{word}" for word in range(30))}) for number in range(40)]
    (tmp_path / "train.jsonl").write_text("\n".join(rows))
    splits = HubText(path=str(tmp_path), words=10, documents=20).load(eval_size=5)
    assert sum(map(len, splits.values())) == 60
    with pytest.raises(UserError, match="has no column 'body'"):
        HubText(path=str(tmp_path), column="body").load(eval_size=5)


def test_lines_of_a_hub_data_set_are_joined_and_what_is_measured_comes_from_a_split_of_its_own(tmp_path):
    for split in ("train", "test"):
        lines = [json.dumps({"text": f" {split} word{number} . \n" if number % 2 else ""}) for number in range(400)]
        (tmp_path / f"{split}.jsonl").write_text("\n".join(lines))
    settings = {"path": str(tmp_path), "joined": True, "words": 30, "base_share": 0.25}
    splits = HubText(**settings, heldout="test").load(eval_size=9)
    assert {name: len(pool) for name, pool in splits.items()} == {"heldout": 9, "control": 9, "train": 15, "base": 5}
    assert all(len(text.split()) == 30 for pool in splits.values() for text in pool.list("text"))
    for name, pool in splits.items():
        here, other = ("test", "train") if name in ("heldout", "control") else ("train", "test")
        assert all(here in text and other not in text for text in pool.list("text"))
        assert (pool.array("_generation") == -1).all()
    assert not set(splits["heldout"].list("text")) & set(splits["control"].list("text"))
    assert sum(map(len, HubText(**settings).load(eval_size=5).values())) == 20  # the train split alone
    with pytest.raises(UserError, match="data.heldout: test: has 20 rows; eval_size = 10 alone takes 20"):
        HubText(**settings, heldout="test").load(eval_size=10)
    with pytest.raises(UserError, match="Unknown split"):
        HubText(**settings, heldout="dev").load(eval_size=5)


def test_whole_documents_can_be_rows(tmp_path):
    assert passages([" a  b\n", "", "c " * 99], words=None) == ["a b", " ".join("c" * 99)]
    (tmp_path / "train.jsonl").write_text("\n".join(json.dumps({"text": "w " * length}) for length in range(1, 41)))
    splits = HubText(path=str(tmp_path), words=None, base_share=0).load(eval_size=5)
    assert sorted(len(text.split()) for pool in splits.values() for text in pool.list("text")) == list(range(1, 41))
    with pytest.raises(ValueError, match="would be a single row"):
        HubText(path=str(tmp_path), words=None, joined=True)
