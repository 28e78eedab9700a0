"""Text metrics: values by hand or by another method, directions, finite values on collapsed text, dependence on the number of rows."""

from __future__ import annotations

import random
from collections import Counter
from difflib import SequenceMatcher

import numpy as np
import pytest
import torch
from autophagy.common.config.registry import ComponentSpec
from autophagy.common.core.errors import UserError
from autophagy.common.core.pool import Pool
from autophagy.text.data import Bible
from autophagy.text.metrics import NLL_BINS, first_half, zipf_exponent
from autophagy.text.ngram import NGram
from autophagy.text.words import words
from support.metric_inputs import ConstantModel, degraded_text, inputs, measured
from support.tiny import TINY, TINY_LM, small_pool

RNG = np.random.default_rng(0)
WIDE = {**TINY_LM, "context": 64}
"""A row of Bible text fits into one window."""


@pytest.fixture(scope="module")
def bible():
    return Bible(words=24).load(eval_size=60)


def fitted(settings, pool, tmp_path):
    model = ComponentSpec.parse("generator", settings).build()
    model.fit(pool, seed=0, scratch=tmp_path)
    return model


class GivenLosses:
    """A model with a given loss per token for each row. Every row has two tokens."""

    def __init__(self, *nats):
        self.nats = np.array(nats)

    def tokens(self, pool):
        return np.full(len(pool), 2)

    def score(self, pool):
        return 2 * self.nats


def encode(model, texts):
    """Tokens of texts under a causal language model or an n-gram model."""
    return (model if hasattr(model, "encode") else model.network).encode(texts)


def zipf_text(rng, n_words, *, types=3000, row=20):
    """Rows of words w0, w1, ... with probabilities proportional to 1 / rank."""
    probabilities = 1 / np.arange(1, types + 1)
    drawn = rng.choice(types, n_words, p=probabilities / probabilities.sum())
    return Pool.of(text=[" ".join(f"w{word}" for word in drawn[start : start + row]) for start in range(0, n_words, row)])


# ---- values -------------------------------------------------------------------------------------------------------


def test_repetition_by_hand():
    """In `a b a b` one bigram of three is repeated; in `x x x x` two bigrams of three and one trigram of two are."""
    values = measured("repetition", generated=Pool.of(text=["a b a b", "X x, x x", "hi", ""]))
    assert values == pytest.approx({"repetition_2": 1 / 2, "repetition_3": 1 / 4, "repetition_4": 0})


def test_self_bleu_by_hand():
    """Both rows have the precisions 3/4, 2/3, 1/2 and, smoothed, 1/2."""
    values = measured("self-bleu", generated=Pool.of(text=["a b c d", "", "A b, c e!"]))
    assert values["self_bleu"] == pytest.approx((3 / 4 * 2 / 3 * 1 / 2 * 1 / 2) ** (1 / 4))


def test_self_bleu_agrees_with_its_definition():
    rows = [" ".join(RNG.choice(list("abcdefghijkl"), RNG.integers(4, 12))) for _ in range(30)]

    def grams(row, n):
        return Counter(tuple(row[at : at + n]) for at in range(len(row) - n + 1))

    def bleu(row, others):
        log_precision, zeros = 0.0, 0
        for n in (1, 2, 3, 4):
            own, most = grams(row, n), Counter()
            for other in others:
                most |= grams(other, n)
            hits = (own & most).total()
            zeros += hits == 0
            log_precision += np.log((hits or 0.5**zeros) / own.total()) / 4
        nearest = min((len(other) for other in others), key=lambda length: (abs(length - len(row)), length))
        return np.exp(log_precision + min(0, 1 - nearest / len(row)))

    split = [row.split() for row in rows]
    expected = np.mean([bleu(row, [*split[:at], *split[at + 1 :]]) for at, row in enumerate(split)])
    assert measured("self-bleu", generated=Pool.of(text=rows))["self_bleu"] == pytest.approx(expected, rel=1e-9)


def test_equal_rows_have_a_self_bleu_of_1():
    for text in ("the", "the dog", "in the beginning was the word", "", "..."):
        assert measured("self-bleu", generated=Pool.of(text=[text] * 12))["self_bleu"] == pytest.approx(1)
    assert measured("self-bleu", generated=Pool.of(text=["one", "two", "three"]))["self_bleu"] <= 0.5


def test_self_bleu_uses_the_first_rows_only():
    pool = small_pool("text", 40)
    capped = ComponentSpec.parse("metric", {"use": "self-bleu", "max_rows": 15}).build()
    assert capped(inputs(generated=pool)) == measured("self-bleu", generated=pool.slice(0, 15))
    assert capped(inputs(generated=pool)) != measured("self-bleu", generated=pool)


def test_zipf_exponent_maximises_the_likelihood():
    assert zipf_exponent(np.array([3.0, 1.0])) == pytest.approx(np.log2(3), abs=1e-5), "1 / (1 + 2^-s) = 3/4"
    assert zipf_exponent(np.ones(50)) == pytest.approx(0, abs=1e-5)
    ranks = np.arange(1, 201)
    for exponent in (0.4, 1.0, 1.7):
        assert zipf_exponent(1e6 * ranks**-exponent) == pytest.approx(exponent, abs=1e-5)
    assert measured("zipf", generated=Pool.of(text=["the cat", "The dog: the the the the"]))["zipf_exponent"] == pytest.approx(
        zipf_exponent(np.array([6.0, 1.0, 1.0]))
    )


def test_n_gram_frequency_is_word_frequency_for_n_1():
    generated, real = degraded_text(0.5), small_pool("text", 60)
    single = ComponentSpec.parse("metric", {"use": "ngram-frequency", "n": 1}).build()(inputs(generated=generated, real=real))
    whole = measured("word-frequency", generated=generated, real=real)
    assert single == {name.replace("frequency_", "ngram_"): value for name, value in whole.items()}


def test_n_gram_frequency_by_hand():
    """Two of three real bigrams are `a b`, one is `b a`. Of four generated bigrams, one is `a b` and none is `b a`."""
    values = measured("ngram-frequency", real=Pool.of(text=["a b a b"]), generated=Pool.of(text=["a b c", "c a", "d c"]))
    assert list(values.values()) == pytest.approx([1 / 4 / (2 / 3), 1, 0, 0])
    assert [name.partition("/")[0] for name in values] == ["ngram_ratio", "ngram_recall"] * 2
    with pytest.raises(UserError, match="no real row has n = 5 words"):
        ComponentSpec.parse("metric", {"use": "ngram-frequency", "n": 5}).build()(
            inputs(generated=Pool.of(text=["a"]), real=Pool.of(text=["a b a b"]))
        )


def test_overlap_by_hand():
    """A run of four words, two runs of at most three, no run. No run continues from one real row into the next."""
    pool = Pool.of(text=["In the beginning God created the heaven", "and the earth was without form"])
    generated = Pool.of(text=["the beginning, GOD created it", "created the heaven and the earth", "nothing", ""])
    values = ComponentSpec.parse("metric", {"use": "overlap", "words": 4}).build()(inputs(generated=generated, pool=pool))
    assert values == pytest.approx({"verbatim_rows": 1 / 4, "longest_verbatim": (4 + 3 + 0 + 0) / 4})
    with pytest.raises(UserError, match="longest: 5 must be at least words = 8"):
        ComponentSpec.parse("metric", {"use": "overlap", "longest": 5})


def test_overlap_agrees_with_difflib():
    generated, pool = (Pool.of(text=[" ".join(RNG.choice(list("abc"), 14)) for _ in range(n)]) for n in (20, 30))
    longest = [
        max(SequenceMatcher(None, row.split(), real.split(), autojunk=False).find_longest_match().size for real in pool.list("text"))
        for row in generated.list("text")
    ]
    values = ComponentSpec.parse("metric", {"use": "overlap", "words": 6}).build()(inputs(generated=generated, pool=pool))
    assert values == pytest.approx({"verbatim_rows": np.mean([run >= 6 for run in longest]), "longest_verbatim": np.mean(longest)})
    capped = ComponentSpec.parse("metric", {"use": "overlap", "words": 2, "longest": 3}).build()(inputs(generated=generated, pool=pool))
    assert capped["longest_verbatim"] == pytest.approx(np.minimum(longest, 3).mean())


def test_base_perplexity_histogram_by_hand():
    generated = Pool.of(text=list("abcde"))
    values = measured("base-perplexity", generated=generated, base=GivenLosses(0.49, 0.5, 3.99, 12.3, 40))
    shares = {name.removeprefix("samples_nll_share/"): value for name, value in values.items() if "/" in name}
    assert list(shares) == NLL_BINS == sorted(NLL_BINS) and len(NLL_BINS) == 25
    assert {name: value for name, value in shares.items() if value} == pytest.approx({"00.0": 0.2, "00.5": 0.2, "03.5": 0.2, "12.0": 0.4})
    assert values["samples_nll"] == pytest.approx(np.mean([0.49, 0.5, 3.99, 12.3, 40]))
    assert measured("base-perplexity", generated=generated, base=GivenLosses(*[-1e-9] * 5))["samples_nll_share/00.0"] == 1


# ---- continuations ------------------------------------------------------------------------------------------------


def test_first_half_ends_before_the_space_of_the_middle_word():
    for text, first in {
        "one two three four": "one two", "one two three": "one", " one\n\ntwo ": " one", "één, twee": "één,", "one": "", " ": "", "": "",
    }.items():  # fmt: skip
        assert first_half(text) == first


@pytest.mark.parametrize("settings", [WIDE, TINY_LM, TINY["ngram"]], ids=["causal-lm", "causal-lm in windows", "ngram"])
def test_row_starts_with_the_tokens_of_its_first_half(settings, bible, tmp_path):
    model = fitted(settings, bible["train"].slice(0, 100), tmp_path)
    rows = bible["heldout"].list("text")
    whole, firsts = encode(model, rows), encode(model, [first_half(row) for row in rows])
    assert np.mean([row[: len(first)] == first for row, first in zip(whole, firsts, strict=True)]) > 0.99
    assert all(0 < len(first) < len(row) for row, first in zip(whole, firsts, strict=True))


def test_continuation_of_a_causal_lm_agrees_with_its_distributions(bible, tmp_path):
    model, nats, n_tokens, n_bytes = fitted(WIDE, bible["train"].slice(0, 100), tmp_path), 0.0, 0, 0
    for text in bible["heldout"].list("text"):
        first = len(encode(model, [first_half(text)])[0])
        tokens = torch.tensor([model.network.start, *encode(model, [text])[0]][:1000])
        for start in range(0, len(tokens) - 1, model.context):  # longer rows are scored in windows
            window = torch.cat([tokens[:1], tokens[1 + start : 1 + start + model.context]])
            with torch.no_grad():
                log_probabilities = model.network.weights(window[None, :-1]).logits[0].double().log_softmax(-1)
            each = -log_probabilities[torch.arange(len(window) - 1), window[1:]]
            nats += each[max(0, first - start) :].sum().item()
        n_tokens, n_bytes = n_tokens + len(tokens) - 1 - first, n_bytes + len(text[len(first_half(text)) :].encode())
    values = measured("continuation", model=model, heldout=bible["heldout"])
    assert values["continuation_nll"] == pytest.approx(nats / n_tokens, rel=1e-5)
    assert values["continuation_bits_per_byte"] == pytest.approx(nats / np.log(2) / n_bytes, rel=1e-5)


def test_continuation_of_an_n_gram_model_agrees_with_its_distributions(bible, tmp_path):
    model, nats = fitted(TINY["ngram"], bible["train"].slice(0, 100), tmp_path), []
    for text in bible["heldout"].list("text"):
        first, tokens = len(encode(model, [first_half(text)])[0]), encode(model, [text])[0]
        probabilities = model.counts.distributions(model.counts.codes(tokens) // model.counts.base)
        nats.append(-np.log(probabilities[np.arange(first, len(tokens)), tokens[first:]]))
    values = measured("continuation", model=model, heldout=bible["heldout"])
    assert values["continuation_nll"] == pytest.approx(np.concatenate(nats).mean())


# ---- an over-confident model -------------------------------------------------------------------------------------


def test_loss_of_an_over_confident_model_is_finite_and_exact(bible, tmp_path):
    """One token costs 110 nats: its probability 1e-48 underflows float32, but its logarithm does not."""
    model, rows = fitted(WIDE, bible["train"].slice(0, 100), tmp_path), Pool.of(text=[text[:60] for text in bible["heldout"].list("text")])

    @torch.no_grad()
    def nats_of_tokens():
        for text in rows.list("text"):
            tokens = torch.tensor([model.network.start, *encode(model, [text])[0]])
            log_probabilities = model.network.weights(tokens[None, :-1]).logits[0].double().log_softmax(-1)
            yield -log_probabilities[torch.arange(len(tokens) - 1), tokens[1:]]

    for _ in range(20):  # the logits are linear in the last norm's weights, the nats nearly so
        worst = torch.cat(list(nats_of_tokens())).max().item()
        with torch.no_grad():
            model.network.weights.model.norm.weight.mul_(110 / worst)
    nats = torch.cat(list(nats_of_tokens()))
    assert nats.max().item() == pytest.approx(110, abs=0.1)
    assert np.exp(np.float32(-110)) == 0
    values = measured("perplexity", model=model, heldout=rows)
    assert np.isfinite(list(values.values())).all()
    assert values["heldout_nll"] == pytest.approx(nats.mean().item(), rel=1e-6)


# ---- direction ----------------------------------------------------------------------------------------------------


def test_degraded_text_has_worse_values():
    real = small_pool("text", 60)
    bleu, recall, share, student = [], [], [], []
    for generated in map(degraded_text, (0.0, 0.5, 0.9)):
        bleu.append(measured("self-bleu", generated=generated)["self_bleu"])
        values = measured("ngram-frequency", generated=generated, real=real)
        recall.append(sum(value for name, value in values.items() if "recall" in name))
        student.append(measured("tstr", generated=generated, heldout=real)["student_bits_per_byte"])
        share.append(measured("overlap", generated=generated, pool=Pool.of(text=[real.list("text")[0]]))["verbatim_rows"])
    assert bleu[0] < bleu[1] < bleu[2]
    assert recall[0] > recall[1] > recall[2]
    assert student[0] < student[1] < student[2]
    assert share == pytest.approx([1 / 60, 0.5, 0.9])


def test_repetition_increases_with_shorter_loops():
    rows = small_pool("text", 30).list("text")
    loops = [Pool.of(text=[" ".join((words(row) * 5)[:length] * (10 // length)) for row in rows]) for length in (10, 5, 2)]
    for n in (2, 3, 4):
        values = [measured("repetition", generated=generated)[f"repetition_{n}"] for generated in loops]
        assert values[0] < values[1] < values[2]


def test_tstr_gets_worse_with_every_generation(bible, tmp_path):
    pool, pools = bible["train"].slice(0, 300), []
    for generation in range(3):
        pools.append(pool)
        model = NGram(vocabulary=600)
        model.fit(pool, seed=generation, scratch=tmp_path)
        pool = model.sample(300, seed=generation)
    values = [measured("tstr", generated=generated, heldout=bible["heldout"])["student_bits_per_byte"] for generated in pools]
    assert values[0] < values[1] < values[2]


def test_tstr_is_the_loss_of_an_n_gram_model_without_truncation(bible, tmp_path):
    generated = Pool.of(text=[" ".join(bible["train"].slice(start, start + 6).list("text")) for start in range(0, 120, 6)])
    model = NGram(order=2, vocabulary=400, context=10_000)
    assert model.fit(generated, seed=5, scratch=tmp_path).units_per_row.max() > 100
    expected = measured("perplexity", model=model, heldout=bible["heldout"])["bits_per_byte"]
    student = ComponentSpec.parse("metric", {"use": "tstr", "order": 2, "vocabulary": 400}).build()
    assert student(inputs(generated=generated, heldout=bible["heldout"]))["student_bits_per_byte"] == pytest.approx(expected)


# ---- collapse -----------------------------------------------------------------------------------------------------

NAMES = ("self-bleu", "repetition", "zipf", "ngram-frequency", "overlap", "tstr", "base-perplexity", "continuation")


@pytest.mark.parametrize("text", ["the", "", "\n", "a " * 200, "in the beginning was the word"])
def test_values_are_finite_on_a_collapsed_pool(text, tmp_path):
    generated, real = Pool.of(text=[text] * 20), small_pool("text")
    model = fitted(TINY["ngram"], generated, tmp_path)
    for name in NAMES:
        parts = {
            "generated": generated,
            "heldout": real,
            "real": real,
            "pool": real,
            "model": model,
            "base": fitted(TINY["ngram"], real, tmp_path),
        }
        values = measured(name, **parts)
        assert values and np.isfinite([float(value) for value in values.values()]).all(), name


def test_metrics_are_deterministic_and_keep_global_random_state():
    def state():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    generated, real = degraded_text(0.3), small_pool("text", 60)
    parts = {"generated": generated, "heldout": real, "real": real, "pool": real, "model": ConstantModel(2.0), "base": ConstantModel(2.0)}
    before = state()
    first = [measured(name, **parts) for name in NAMES]
    assert state() == before
    assert [measured(name, **parts) for name in NAMES] == first


# ---- dependence on the number of rows -----------------------------------------------------------------------------


def test_repetition_alone_is_independent_of_the_number_of_rows():
    """Metrics of a twentieth, a quarter and all of one text. Distinct-n, the Zipf exponent and self-BLEU change."""
    text = zipf_text(np.random.default_rng(3), 40_000)
    samples = [text.slice(0, len(text) // part) for part in (20, 4, 1)]
    distinct = [measured("distinct", generated=generated)["distinct_1"] for generated in samples]
    assert distinct[0] > 1.5 * distinct[1] > 2 * distinct[2]
    exponents = [measured("zipf", generated=generated)["zipf_exponent"] for generated in samples]
    assert abs(exponents[0] - 1) > 2 * abs(exponents[2] - 1), "the exponent approaches 1 only with much text"
    bleu = [
        ComponentSpec.parse("metric", {"use": "self-bleu", "max_rows": rows}).build()(inputs(generated=text))["self_bleu"]
        for rows in (10, 30, 90)
    ]
    assert bleu[0] < bleu[1] < bleu[2]
    repetition = [measured("repetition", generated=generated)["repetition_2"] for generated in samples]
    assert repetition == pytest.approx([repetition[2]] * 3, abs=0.005)
