"""The causal language model: exact sampling, correct likelihoods, row ends, pretrained models."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from autophagy import UserError
from autophagy.common.components.pretend_device import pretend_device, register, without
from autophagy.common.config.registry import ComponentSpec
from autophagy.common.core.device import seeded
from autophagy.common.core.pool import Pool
from autophagy.text import lm_decoding, sampling
from autophagy.text.kv_cache import CachedForward
from autophagy.text.lm_decoding import continue_prompts
from autophagy.text.lm_network import IGNORED, new_network
from autophagy.text.lm_scoring import cross_entropy
from autophagy.text.lm_training import NextTokenLoss, group_bounds
from autophagy.text.sampling import Sampling, draw_tokens, token_probabilities
from autophagy.text.tokenizer import END, train_bpe
from support.tiny import TINY_LM, small_pool
from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast
from transformers.generation import TemperatureLogitsWarper, TopKLogitsWarper, TopPLogitsWarper

register()  # before any test computes gradients


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
def test_token_probabilities_equal_those_of_transformers(sampling, warpers):
    logits = 3 * torch.randn(50, 100, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = logits
    for warper in warpers:
        expected = warper(None, expected)
    probabilities = token_probabilities(logits, sampling)
    torch.testing.assert_close(probabilities / probabilities.sum(-1, keepdim=True), expected.softmax(-1))


def test_models_run_on_devices_without_float64(tmp_path, monkeypatch):
    """MPS is such a device. Its only special case, `widest_float`, is replaced, because it goes by the name of the device."""
    for module in (lm_decoding, sampling):
        monkeypatch.setattr(module, "widest_float", lambda where: torch.float32)
    with pretend_device(), without(torch.float64):
        model = ComponentSpec.parse("generator", TINY_LM).build()
        model.fit(small_pool("text"), seed=0, scratch=tmp_path)
        assert len(model.sample(5, seed=1)) == 5
        assert np.isfinite(model.score(small_pool("text"))).all()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_drawn_tokens_invert_the_cumulative_distribution(dtype):
    """Compared with a cumulative sum over the whole vocabulary, in float64. Half of the tokens have probability 0."""
    generator = torch.Generator().manual_seed(0)
    probabilities = torch.softmax(4 * torch.randn(3_000, 321, generator=generator, dtype=torch.float64), dim=-1).to(dtype)
    probabilities[torch.rand(probabilities.shape, generator=generator) < 0.5] = 0
    uniforms = torch.rand(len(probabilities), generator=generator, dtype=torch.float64)
    uniforms[:3] = torch.tensor([0.0, 0.5, np.nextafter(1, 0)])
    tokens, totals = draw_tokens(probabilities, uniforms)
    cumulative = probabilities.double().cumsum(-1)
    expected = torch.searchsorted(cumulative, uniforms[:, None] * cumulative[:, -1:], right=True)[:, 0]
    assert torch.equal(tokens, expected.clamp(max=320)) or (tokens != expected).sum() == 1  # one quantile may round to the total
    assert (probabilities.gather(1, tokens[:, None]) > 0).all()
    torch.testing.assert_close(totals, cumulative[:, -1])


def test_first_tokens_follow_the_distribution_of_the_model(fitted):
    """20,000 draws of the first token against its exact probabilities: chi-squared is within 5 standard deviations."""
    n, end = 20_000, fitted.network.end
    uniforms = np.random.default_rng(0).random((n, fitted.context))
    firsts = [row[0] for row in continued(fitted, [[end]] * n, uniforms)]
    with torch.inference_mode():
        logits = fitted.network.weights(torch.tensor([[end]])).logits[0, -1].double().clone()
        logits[end] = -torch.inf
    expected = n * logits.softmax(-1).numpy()
    common = expected >= 5
    counts = np.bincount(firsts, minlength=len(expected))
    chi2 = ((counts - expected)[common] ** 2 / expected[common]).sum()
    assert abs(chi2 - common.sum()) < 5 * np.sqrt(2 * common.sum())


SMALL = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}


@pytest.mark.parametrize(
    "architecture",
    [
        {"model_type": "gpt2", "n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 32},
        {"model_type": "mistral", **SMALL, "num_key_value_heads": 1, "sliding_window": 4},
        {"model_type": "qwen3", **SMALL, "num_key_value_heads": 1, "head_dim": 8},
    ],
    ids=lambda architecture: architecture["model_type"],
)
def test_cached_sampling_agrees_with_full_forward_passes_of_other_architectures(architecture):
    """Shared key heads, learned positions, and sliding windows, whose cache is not ours."""
    model = ComponentSpec.parse("generator", {**TINY_LM, "architecture": architecture}).build()
    with seeded(0):
        model._network = new_network(small_pool("text").list("text"), architecture=architecture, vocabulary=300, context=model.context)
    model.network.weights.eval()
    test_cached_sampling_agrees_with_full_forward_passes(model)


def test_cached_sampling_agrees_with_full_forward_passes(fitted):
    """Every token is drawn again with the same uniforms, from logits computed without a cache."""
    end, uniforms = fitted.network.end, np.random.default_rng(1).random((6, fitted.context))
    rows = continued(fitted, [[end]] * 6, uniforms)
    for row, draws in zip(rows, uniforms, strict=True):
        with torch.inference_mode():
            logits = fitted.network.weights(torch.tensor([[end, *row]])).logits[0].double()
        for step, token in enumerate(row):
            probabilities = logits[step].softmax(-1)
            if step == 0:
                probabilities[end] = 0
            cumulative = probabilities.cumsum(0) / probabilities.sum()
            assert cumulative[token] >= draws[step] - 1e-5
            assert token == 0 or cumulative[token - 1] <= draws[step] + 1e-5


def test_a_row_does_not_depend_on_the_rows_sampled_with_it(tmp_path, monkeypatch):
    """Also not on the size of the batch, nor on the rows that end earlier and are dropped."""
    fitted = ComponentSpec.parse("generator", {**TINY_LM, "training": {"steps": 100, "batch": 8, "learning_rate": 3e-2}}).build()
    fitted.fit(Pool.of(text=["a", "ab", "the", "of the", "a long text of many words, unlike the others"] * 8), seed=0, scratch=tmp_path)
    dropped = []
    keep_rows = CachedForward.keep_rows
    monkeypatch.setattr(CachedForward, "keep_rows", lambda self, rows: dropped.append(len(rows)) or keep_rows(self, rows))
    monkeypatch.setattr(lm_decoding, "STEPS_BETWEEN_CHECKS", 2)
    texts = fitted.sample(300, seed=5).list("text")
    assert dropped  # some rows ended so early that the batch became smaller
    for n in (1, 17, 100):
        assert fitted.sample(n, seed=5).list("text") == texts[:n]
    monkeypatch.setattr(lm_decoding, "CPU_MEMORY", 0)  # batches of 16 rows
    assert fitted.sample(100, seed=5).list("text") == texts[:100]


def test_loss_of_a_batch_in_groups_equals_the_loss_with_padding(fitted):
    """Value and gradient, for rows of very different lengths."""
    sequences = [[fitted.network.start, *range(5, 5 + n)] for n in (3, 20, 4, 9, 2, 2, 17, 5)]
    loss = NextTokenLoss(fitted.network, sequences)
    rows = torch.tensor([1, 0, 5, 6, 2, 7])
    weights = fitted.network.weights
    results = []
    for cost, padded in ((1, False), (10**9, False), (1, True)):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("autophagy.text.lm_training.COST_OF_GROUP", {"cpu": cost, "cuda": cost})
            value = _padded_loss(fitted.network, [sequences[row] for row in rows]) if padded else loss(rows)
        (gradient,) = torch.autograd.grad(value, weights.get_input_embeddings().weight)
        results.append((value, gradient))
    for value, gradient in results[1:]:
        torch.testing.assert_close(value, results[0][0], rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(gradient, results[0][1], rtol=1e-4, atol=1e-7)


def _padded_loss(network, sequences):
    width = max(map(len, sequences))
    tokens = torch.tensor([[*row, *[network.end] * (width - len(row))] for row in sequences])
    targets = torch.tensor([[*row, *[IGNORED] * (width - len(row))] for row in sequences])
    return cross_entropy(network.weights(tokens[:, :-1]).logits, targets[:, 1:], reduction="mean")


def test_batches_are_grouped_only_if_it_saves_more_padding_than_it_costs():
    assert group_bounds(np.array([9, 9, 9, 9]), cost_of_group=1) == [0, 4]
    assert group_bounds(np.array([100, 100, 10, 10]), cost_of_group=10) == [0, 2, 4]
    assert group_bounds(np.array([100, 100, 10, 10]), cost_of_group=1000) == [0, 4]
    assert group_bounds(np.array([100, 1]), cost_of_group=1) == [0, 1, 2]


def test_score_sums_over_windows_and_not_over_other_rows(fitted):
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


def test_cross_entropy_of_a_large_logit_gap_is_finite():
    """Collapsed models are over-confident: a logit gap of 110 costs about 110 nats, not infinity."""
    logits = torch.zeros(1, 2, 10)
    logits[0, 0, 3] = 110.0
    loss = torch.nn.functional.cross_entropy(logits.transpose(1, 2), torch.tensor([[5, 1]]), reduction="none")
    assert float(loss[0, 0]) == pytest.approx(110, rel=1e-5)


def test_sampling_continues_prompts_and_leaves_them_out(fitted):
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
    """The folder of a tiny random GPT-2 in Hugging Face format."""
    folder = tmp_path_factory.mktemp("gpt2")
    bpe = train_bpe(small_pool("text").list("text"), 300)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=END, bos_token=END, pad_token=END)
    torch.manual_seed(0)
    GPT2LMHeadModel(GPT2Config(vocab_size=300, n_positions=32, n_embd=16, n_layer=1, n_head=2)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_fit_starts_from_the_weights_of_a_pretrained_model(pretrained, tmp_path):
    spec = ComponentSpec.parse(
        "generator",
        {
            "use": "causal-lm",
            "pretrained": str(pretrained),
            "context": 12,
            "prompt_tokens": 3,
            "training": {"steps": 1, "learning_rate": 1e-9},
        },
    )
    model = spec.build()
    model.fit(small_pool("text"), seed=0, scratch=tmp_path)
    original = GPT2LMHeadModel.from_pretrained(pretrained)
    torch.testing.assert_close(model.network.weights.transformer.wte.weight, original.transformer.wte.weight, atol=1e-6, rtol=0)
    assert set(model.inputs()) >= {"model.safetensors", "config.json", "tokenizer.json"}
    assert len(model.sample(3, seed=0)) == 3


def test_pretrained_model_is_used_up_to_its_last_position(pretrained, tmp_path):
    settings = {"use": "causal-lm", "pretrained": str(pretrained), "context": 32, "prompt_tokens": 3, "training": {"steps": 1}}
    model, pool = ComponentSpec.parse("generator", settings).build(), Pool.of(text=[" ".join(small_pool("text").list("text"))] * 3)
    model.fit(pool, seed=0, scratch=tmp_path)
    assert (model.tokens(pool) > 32).all()
    assert np.isfinite(model.score(pool)).all()
    assert len(model.sample(3, seed=0, given=pool)) == 3


def test_unusable_pretrained_model_is_rejected_with_a_reason(pretrained, tmp_path):
    def fit(**settings):
        spec = ComponentSpec.parse(
            "generator", {"use": "causal-lm", "context": 12, "prompt_tokens": 3, "training": {"steps": 1}, **settings}
        )
        spec.build().fit(small_pool("text"), seed=0, scratch=tmp_path)

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


def test_row_that_fits_has_an_end_and_truncated_row_has_none(fitted):
    start, end = fitted.network.start, fitted.network.end
    short, long = sequences_of(fitted, ["the", "the lord said " * 20])
    assert short[0] == start
    assert short[-1] == end
    assert len(long) == fitted.context + 1
    assert long[-1] != end


@pytest.mark.parametrize("ends", [True, False])
def test_rows_without_ends_keep_their_length_over_generations(tmp_path, ends):
    """Prompts of 8 tokens are continued by at most 8. If ends are learned from these continuations, the next ones are shorter."""
    settings = {**TINY_LM, "context": 16, "prompt_tokens": 8, "ends": ends, "training": {"steps": 80, "learning_rate": 1e-2}}
    model, prompts = ComponentSpec.parse("generator", settings).build(), small_pool("text", 40)
    pool, lengths = prompts, []
    for generation in range(3):
        model.fit(pool, seed=generation, scratch=tmp_path)
        starts = [[model.network.start, *row[:8]] for row in model.network.encode(prompts.list("text"))]
        rows = continued(model, starts, np.full((40, 16), 0.5))
        lengths += [len(row) for row in rows]
        pool = model.sample(40, seed=generation, given=prompts)
    assert max(lengths) == 8
    assert (min(lengths) == 8) is not ends


def test_passages_are_learned_without_an_end(fitted, tmp_path):
    passages_only = ComponentSpec.parse("generator", {**TINY_LM, "ends": False}).build()
    fit = passages_only.fit(small_pool("text", 40), seed=0, scratch=tmp_path)
    end = passages_only.network.end
    short, long = sequences_of(passages_only, ["the", "the lord said " * 20])
    assert end not in [*short[1:], *long[1:]]
    assert [*short, end] == sequences_of(fitted, ["the"])[0]
    assert long == sequences_of(fitted, ["the lord said " * 20])[0]
    sequences = sequences_of(passages_only, small_pool("text", 40).list("text"))
    assert fit.stats["rows_cut_at_context"] == pytest.approx(np.mean([len(sequence) == 13 for sequence in sequences]))
