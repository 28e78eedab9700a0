"""The n-gram model: normalised distributions, exact draws, Kneser-Ney counts."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from autophagy.common.core.pool import Pool
from autophagy.text.data import Bible
from autophagy.text.ngram import NGram
from scipy.stats import chisquare


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    model = NGram(vocabulary=400, context=32)
    model.fit(Bible(words=16).load(eval_size=200)["heldout"], seed=0, scratch=tmp_path_factory.mktemp("scratch"))
    return model


def states_of(model, pool):
    grams = np.concatenate([model.counts.codes(row) for row in model.encode(pool.list("text"))])
    return grams // model.counts.base, grams % model.counts.base


def test_distributions_sum_to_one_even_in_unseen_contexts(fitted):
    states, _ = states_of(fitted, Bible(words=16).load(eval_size=20)["control"])
    assert np.allclose(fitted.counts.distributions(states).sum(1), 1)
    assert (fitted.counts.distributions(states) > 0).all()


def test_scores_agree_with_the_distributions(fitted):
    pool = Bible(words=16).load(eval_size=20)["control"]
    states, tokens = states_of(fitted, pool)
    nats = -np.log(fitted.counts.distributions(states)[np.arange(len(tokens)), tokens])
    assert fitted.score(pool).sum() == pytest.approx(nats.sum())
    assert fitted.tokens(pool).sum() == len(tokens)


def test_draws_follow_the_distribution(fitted):
    """A chi-squared test for a known two-token context, a state with a known last token only, and an unseen state."""
    the = fitted.encode([" the"])[0]
    rng = np.random.default_rng(0)
    for state in (fitted.counts.state_after([*fitted.encode(["of"])[0], *the]), 7 * fitted.counts.base + the[-1], 0):
        drawn = np.bincount(fitted.counts.draw(np.full(200_000, state), rng.random(200_000)), minlength=fitted.counts.vocabulary)
        expected = fitted.counts.distributions(np.array([state]))[0] * 200_000
        common = expected > 20
        observed, expected = [np.append(counts[common], counts[~common].sum()) for counts in (drawn, expected)]
        assert chisquare(observed[expected > 0], expected[expected > 0]).pvalue > 1e-4


def test_biased_and_unbiased_draws_agree_without_bias(fitted):
    u, state = np.random.default_rng(1).random(50_000), np.full(50_000, fitted.counts.state_after([]))
    slow = fitted._draw_biased(state[:2000], u[:2000], np.zeros(2000, dtype=int), None, may_end=True)
    fast = fitted.counts.draw(state, u)
    common = np.bincount(fast, minlength=fitted.counts.vocabulary).argmax()
    assert (slow == common).mean() == pytest.approx((fast == common).mean(), abs=0.05)


def test_lower_orders_count_distinct_contexts(tmp_path):
    """The idea of Kneser-Ney: "Francisco" may be frequent, but it only follows "San"."""
    model = NGram(order=2, vocabulary=300, context=60)
    texts = ["San Francisco " * 6, "the cat the dog the cow a cat a dog a cow"]
    model.fit(Pool.of(text=texts), seed=0, scratch=tmp_path)
    pairs = set()
    for row in model.encode(texts):
        row = [*row, model.end][: model.context]
        pairs |= set(zip([model.counts.vocabulary, *row[:-1]], row, strict=True))
    counts = dict(zip(model.counts.tables[0].keys.tolist(), model.counts.tables[0].counts.tolist(), strict=True))
    assert counts == Counter(token for _, token in pairs)


def test_higher_orders_predict_real_text_better():
    splits = Bible(words=16).load(eval_size=400)
    train, heldout = splits["train"].slice(0, 4000), splits["heldout"]
    losses = []
    for order in (1, 2, 3):
        model = NGram(order=order, vocabulary=1000)
        model.fit(train, seed=0, scratch=None)
        losses.append(model.score(heldout).sum() / model.tokens(heldout).sum())
    assert losses[0] > losses[1] + 0.5 > losses[2] + 0.5
    assert losses[2] < 4.6


def test_scores_are_finite_after_a_fit_to_collapsed_text(tmp_path):
    model = NGram(vocabulary=300)
    model.fit(Pool.of(text=["aaaa aaaa"] * 50), seed=0, scratch=tmp_path)
    assert np.isfinite(model.score(Pool.of(text=["zebra", "aaaa", ""]))).all()
    generated = model.sample(5, seed=1)
    assert all(generated.list("text"))


def test_editing_resamples_likely_tokens_only(fitted):
    pool = Bible(words=16).load(eval_size=50)["heldout"].only(["text"]).bare()
    unchanged, share = fitted.edit(pool, above=1.0, seed=1)
    assert share == 0 and unchanged.list("text") == pool.list("text")
    edited, share = fitted.edit(pool, above=0.5, seed=1)
    assert 0.01 < share < 0.6
    assert edited.list("text") != pool.list("text")
    states, tokens = states_of(fitted, pool)
    assert share <= (fitted.counts.distributions(states)[np.arange(len(tokens)), tokens] > 0.5).mean()
