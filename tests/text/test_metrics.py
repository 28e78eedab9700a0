"""Text metrics: values by hand or by another route, the right direction, finite on collapsed text, and what depends on the rows."""

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
from support.metric_inputs import ConstantModel, degraded_text, measured
from support.tiny import TINY, TINY_LM, small_pool

RNG = np.random.default_rng(0)
WIDE = {**TINY_LM, "context": 64}
"""Takes a row of Bible text in one window."""


@pytest.fixture(scope="module")
def bible():
    return Bible(words=24).load(eval_size=60)


def fitted(written, pool, tmp_path):
    model = ComponentSpec.parse("generator", written).build()
    model.fit(pool, seed=0, scratch=tmp_path)
    return model


class Given:
    """Evidence that holds what it is given."""

    def __init__(self, **parts):
        vars(self).update(parts)


class Rates:
    """A model that gives each row the nats per token it is told, over two tokens a row."""

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
    """Rows of words w0, w1, ... whose chances fall as 1 / rank."""
    chances = 1 / np.arange(1, types + 1)
    drawn = rng.choice(types, n_words, p=chances / chances.sum())
    return Pool.of(text=[" ".join(f"w{word}" for word in drawn[start : start + row]) for start in range(0, n_words, row)])


# ---- values -------------------------------------------------------------------------------------------------------


def test_repetition_by_hand():
    """Of `a b a b` one bigram in three has been there before, of `x x x x` two in three and one trigram in two."""
    found = measured("repetition", generated=Pool.of(text=["a b a b", "X x, x x", "hi", ""]))
    assert found == pytest.approx({"repetition_2": 1 / 2, "repetition_3": 1 / 4, "repetition_4": 0})


def test_self_bleu_by_hand():
    """Either row: precisions 3/4, 2/3, 1/2 and, smoothed, 1/2."""
    found = measured("self-bleu", generated=Pool.of(text=["a b c d", "", "A b, c e!"]))
    assert found["self_bleu"] == pytest.approx((3 / 4 * 2 / 3 * 1 / 2 * 1 / 2) ** (1 / 4))


def test_self_bleu_agrees_with_bleu_written_out():
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


def test_self_bleu_looks_at_the_first_rows_only():
    pool = small_pool("text", 40)
    capped = ComponentSpec.parse("metric", {"use": "self-bleu", "max_rows": 15}).build()
    assert capped(Given(generated=pool)) == measured("self-bleu", generated=pool.slice(0, 15))
    assert capped(Given(generated=pool)) != measured("self-bleu", generated=pool)


def test_the_zipf_exponent_solves_its_likelihood():
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
    single = ComponentSpec.parse("metric", {"use": "ngram-frequency", "n": 1}).build()(Given(generated=generated, real=real))
    whole = measured("word-frequency", generated=generated, real=real)
    assert single == {name.replace("frequency_", "ngram_"): value for name, value in whole.items()}


def test_n_gram_frequency_by_hand():
    """`a b` is two of the three real bigrams and `b a` the third; of four made ones, one is `a b` and none `b a`."""
    found = measured("ngram-frequency", real=Pool.of(text=["a b a b"]), generated=Pool.of(text=["a b c", "c a", "d c"]))
    assert list(found.values()) == pytest.approx([1 / 4 / (2 / 3), 1, 0, 0])
    assert [name.partition("/")[0] for name in found] == ["ngram_ratio", "ngram_recall"] * 2
    with pytest.raises(UserError, match="no real row has n = 5 words"):
        ComponentSpec.parse("metric", {"use": "ngram-frequency", "n": 5}).build()(
            Given(generated=Pool.of(text=["a"]), real=Pool.of(text=["a b a b"]))
        )


def test_overlap_by_hand():
    """Four words, then two runs of at most three, then none; no run goes from one real row into the next."""
    pool = Pool.of(text=["In the beginning God created the heaven", "and the earth was without form"])
    generated = Pool.of(text=["the beginning, GOD created it", "created the heaven and the earth", "nothing", ""])
    found = ComponentSpec.parse("metric", {"use": "overlap", "words": 4}).build()(Given(generated=generated, pool=pool))
    assert found == pytest.approx({"verbatim_rows": 1 / 4, "longest_verbatim": (4 + 3 + 0 + 0) / 4})
    with pytest.raises(UserError, match="longest: 5 must be at least words = 8"):
        ComponentSpec.parse("metric", {"use": "overlap", "longest": 5})


def test_overlap_finds_the_runs_that_difflib_finds():
    generated, pool = (Pool.of(text=[" ".join(RNG.choice(list("abc"), 14)) for _ in range(n)]) for n in (20, 30))
    longest = [
        max(SequenceMatcher(None, row.split(), real.split(), autojunk=False).find_longest_match().size for real in pool.list("text"))
        for row in generated.list("text")
    ]
    found = ComponentSpec.parse("metric", {"use": "overlap", "words": 6}).build()(Given(generated=generated, pool=pool))
    assert found == pytest.approx({"verbatim_rows": np.mean([run >= 6 for run in longest]), "longest_verbatim": np.mean(longest)})
    capped = ComponentSpec.parse("metric", {"use": "overlap", "words": 2, "longest": 3}).build()(Given(generated=generated, pool=pool))
    assert capped["longest_verbatim"] == pytest.approx(np.minimum(longest, 3).mean())


def test_the_histogram_of_samples_by_hand():
    generated = Pool.of(text=list("abcde"))
    found = measured("base-perplexity", generated=generated, base=Rates(0.49, 0.5, 3.99, 12.3, 40))
    shares = {name.removeprefix("samples_nll_share/"): value for name, value in found.items() if "/" in name}
    assert list(shares) == NLL_BINS == sorted(NLL_BINS) and len(NLL_BINS) == 25
    assert {name: value for name, value in shares.items() if value} == pytest.approx({"00.0": 0.2, "00.5": 0.2, "03.5": 0.2, "12.0": 0.4})
    assert found["samples_nll"] == pytest.approx(np.mean([0.49, 0.5, 3.99, 12.3, 40]))
    assert measured("base-perplexity", generated=generated, base=Rates(*[-1e-9] * 5))["samples_nll_share/00.0"] == 1


# ---- continuations ------------------------------------------------------------------------------------------------


def test_rows_are_cut_before_the_space_of_their_middle_word():
    for text, first in {
        "one two three four": "one two", "one two three": "one", " one\n\ntwo ": " one", "één, twee": "één,", "one": "", " ": "", "": "",
    }.items():  # fmt: skip
        assert first_half(text) == first


@pytest.mark.parametrize("written", [WIDE, TINY_LM, TINY["ngram"]], ids=["causal-lm", "causal-lm in windows", "ngram"])
def test_tokens_of_the_first_half_begin_the_row(written, bible, tmp_path):
    model = fitted(written, bible["train"].slice(0, 100), tmp_path)
    rows = bible["heldout"].list("text")
    whole, firsts = encode(model, rows), encode(model, [first_half(row) for row in rows])
    assert np.mean([row[: len(first)] == first for row, first in zip(whole, firsts, strict=True)]) > 0.99
    assert all(0 < len(first) < len(row) for row, first in zip(whole, firsts, strict=True))


def test_continuation_of_a_causal_lm_is_what_its_distributions_say(bible, tmp_path):
    model, nats, n_tokens, n_bytes = fitted(WIDE, bible["train"].slice(0, 100), tmp_path), 0.0, 0, 0
    for text in bible["heldout"].list("text"):
        first = len(encode(model, [first_half(text)])[0])
        tokens = torch.tensor([model.network.start, *encode(model, [text])[0]][:1000])
        for start in range(0, len(tokens) - 1, model.context):  # as the model reads rows beyond its context
            window = torch.cat([tokens[:1], tokens[1 + start : 1 + start + model.context]])
            with torch.no_grad():
                log_chances = model.network.weights(window[None, :-1]).logits[0].double().log_softmax(-1)
            each = -log_chances[torch.arange(len(window) - 1), window[1:]]
            nats += each[max(0, first - start) :].sum().item()
        n_tokens, n_bytes = n_tokens + len(tokens) - 1 - first, n_bytes + len(text[len(first_half(text)) :].encode())
    found = measured("continuation", model=model, heldout=bible["heldout"])
    assert found["continuation_nll"] == pytest.approx(nats / n_tokens, rel=1e-5)
    assert found["continuation_bits_per_byte"] == pytest.approx(nats / np.log(2) / n_bytes, rel=1e-5)


def test_continuation_of_an_n_gram_model_is_what_its_distributions_say(bible, tmp_path):
    model, nats = fitted(TINY["ngram"], bible["train"].slice(0, 100), tmp_path), []
    for text in bible["heldout"].list("text"):
        first, tokens = len(encode(model, [first_half(text)])[0]), encode(model, [text])[0]
        chances = model.counts.distributions(model.counts.codes(tokens) // model.counts.base)
        nats.append(-np.log(chances[np.arange(first, len(tokens)), tokens[first:]]))
    found = measured("continuation", model=model, heldout=bible["heldout"])
    assert found["continuation_nll"] == pytest.approx(np.concatenate(nats).mean())


# ---- a model that is far too sure ---------------------------------------------------------------------------------


def test_the_held_out_loss_of_an_over_confident_model_is_finite_and_exact(bible, tmp_path):
    """Logits scaled until one token costs 110 nats: its chance, 1e-48, is no float32, its logarithm is."""
    model, rows = fitted(WIDE, bible["train"].slice(0, 100), tmp_path), Pool.of(text=[text[:60] for text in bible["heldout"].list("text")])

    @torch.no_grad()
    def nats_of_tokens():
        for text in rows.list("text"):
            tokens = torch.tensor([model.network.start, *encode(model, [text])[0]])
            log_chances = model.network.weights(tokens[None, :-1]).logits[0].double().log_softmax(-1)
            yield -log_chances[torch.arange(len(tokens) - 1), tokens[1:]]

    for _ in range(20):  # the logits are linear in the last norm's weights, the nats nearly so
        worst = torch.cat(list(nats_of_tokens())).max().item()
        with torch.no_grad():
            model.network.weights.model.norm.weight.mul_(110 / worst)
    nats = torch.cat(list(nats_of_tokens()))
    assert nats.max().item() == pytest.approx(110, abs=0.1)
    assert np.exp(np.float32(-110)) == 0
    found = measured("perplexity", model=model, heldout=rows)
    assert np.isfinite(list(found.values())).all()
    assert found["heldout_nll"] == pytest.approx(nats.mean().item(), rel=1e-6)


# ---- direction ----------------------------------------------------------------------------------------------------


def test_worse_text_scores_worse():
    real = small_pool("text", 60)
    bleu, recall, share, student = [], [], [], []
    for generated in map(degraded_text, (0.0, 0.5, 0.9)):
        bleu.append(measured("self-bleu", generated=generated)["self_bleu"])
        found = measured("ngram-frequency", generated=generated, real=real)
        recall.append(sum(value for name, value in found.items() if "recall" in name))
        student.append(measured("tstr", generated=generated, heldout=real)["student_bits_per_byte"])
        share.append(measured("overlap", generated=generated, pool=Pool.of(text=[real.list("text")[0]]))["verbatim_rows"])
    assert bleu[0] < bleu[1] < bleu[2]
    assert recall[0] > recall[1] > recall[2]
    assert student[0] < student[1] < student[2]
    assert share == pytest.approx([1 / 60, 0.5, 0.9])


def test_loops_repeat():
    rows = small_pool("text", 30).list("text")
    loops = [Pool.of(text=[" ".join((words(row) * 5)[:length] * (10 // length)) for row in rows]) for length in (10, 5, 2)]
    for n in (2, 3, 4):
        found = [measured("repetition", generated=generated)[f"repetition_{n}"] for generated in loops]
        assert found[0] < found[1] < found[2]


def test_a_student_learns_most_from_real_rows_and_less_from_each_generation(bible, tmp_path):
    pool, pools = bible["train"].slice(0, 300), []
    for generation in range(3):
        pools.append(pool)
        model = NGram(vocabulary=600)
        model.fit(pool, seed=generation, scratch=tmp_path)
        pool = model.sample(300, seed=generation)
    found = [measured("tstr", generated=generated, heldout=bible["heldout"])["student_bits_per_byte"] for generated in pools]
    assert found[0] < found[1] < found[2]


def test_the_student_is_the_n_gram_model_with_no_row_cut(bible, tmp_path):
    generated = Pool.of(text=[" ".join(bible["train"].slice(start, start + 6).list("text")) for start in range(0, 120, 6)])
    model = NGram(order=2, vocabulary=400, context=10_000)
    assert model.fit(generated, seed=5, scratch=tmp_path).units_per_row.max() > 100
    expected = measured("perplexity", model=model, heldout=bible["heldout"])["bits_per_byte"]
    student = ComponentSpec.parse("metric", {"use": "tstr", "order": 2, "vocabulary": 400}).build()
    assert student(Given(generated=generated, heldout=bible["heldout"]))["student_bits_per_byte"] == pytest.approx(expected)


# ---- collapse -----------------------------------------------------------------------------------------------------

NEW = ("self-bleu", "repetition", "zipf", "ngram-frequency", "overlap", "tstr", "base-perplexity", "continuation")


@pytest.mark.parametrize("text", ["the", "", "\n", "a " * 200, "in the beginning was the word"])
def test_every_number_is_finite_on_a_collapsed_pool(text, tmp_path):
    generated, real = Pool.of(text=[text] * 20), small_pool("text")
    model = fitted(TINY["ngram"], generated, tmp_path)
    for name in NEW:
        parts = {
            "generated": generated,
            "heldout": real,
            "real": real,
            "pool": real,
            "model": model,
            "base": fitted(TINY["ngram"], real, tmp_path),
        }
        found = measured(name, **parts)
        assert found and np.isfinite([float(value) for value in found.values()]).all(), name


def test_text_metrics_are_deterministic_and_leave_global_random_state_alone():
    def state():
        return random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state().tolist()

    generated, real = degraded_text(0.3), small_pool("text", 60)
    parts = {"generated": generated, "heldout": real, "real": real, "pool": real, "model": ConstantModel(2.0), "base": ConstantModel(2.0)}
    before = state()
    first = [measured(name, **parts) for name in NEW]
    assert state() == before
    assert [measured(name, **parts) for name in NEW] == first


# ---- what depends on the number of rows ---------------------------------------------------------------------------


def test_distinct_zipf_and_self_bleu_depend_on_the_number_of_rows_and_repetition_does_not():
    """The same law of words, a twentieth of it, a quarter and all: compare the first three at equal numbers of rows only."""
    text = zipf_text(np.random.default_rng(3), 40_000)
    some = [text.slice(0, len(text) // part) for part in (20, 4, 1)]
    distinct = [measured("distinct", generated=generated)["distinct_1"] for generated in some]
    assert distinct[0] > 1.5 * distinct[1] > 2 * distinct[2]
    exponents = [measured("zipf", generated=generated)["zipf_exponent"] for generated in some]
    assert abs(exponents[0] - 1) > 2 * abs(exponents[2] - 1), "1 only where every word type is common enough"
    bleu = [
        ComponentSpec.parse("metric", {"use": "self-bleu", "max_rows": rows}).build()(Given(generated=text))["self_bleu"]
        for rows in (10, 30, 90)
    ]
    assert bleu[0] < bleu[1] < bleu[2]
    repetition = [measured("repetition", generated=generated)["repetition_2"] for generated in some]
    assert repetition == pytest.approx([repetition[2]] * 3, abs=0.005)
