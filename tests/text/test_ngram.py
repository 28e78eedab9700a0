"""The n-gram model: proper distributions, exact draws, the smoothing of the textbook."""

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


def test_every_distribution_sums_to_one_also_after_contexts_never_seen(fitted):
    states, _ = states_of(fitted, Bible(words=16).load(eval_size=20)["control"])
    assert np.allclose(fitted.counts.distributions(states).sum(1), 1)
    assert (fitted.counts.distributions(states) > 0).all()


def test_scores_are_the_distributions_that_are_drawn_from(fitted):
    pool = Bible(words=16).load(eval_size=20)["control"]
    states, tokens = states_of(fitted, pool)
    from_whole = -np.log(fitted.counts.distributions(states)[np.arange(len(tokens)), tokens])
    assert fitted.score(pool).sum() == pytest.approx(from_whole.sum())
    assert fitted.tokens(pool).sum() == len(tokens)


def test_draws_follow_the_distribution(fitted):
    """A state with a known two-token context, one known by its last token alone, and one never seen: a chi-squared test each."""
    the = fitted.encode([" the"])[0]
    rng = np.random.default_rng(0)
    for state in (fitted.counts.state_after([*fitted.encode(["of"])[0], *the]), 7 * fitted.counts.base + the[-1], 0):
        drawn = np.bincount(fitted.counts.draw(np.full(200_000, state), rng.random(200_000)), minlength=fitted.counts.vocabulary)
        expected = fitted.counts.distributions(np.array([state]))[0] * 200_000
        often = expected > 20
        observed, wanted = [np.append(counts[often], counts[~often].sum()) for counts in (drawn, expected)]
        assert chisquare(observed[wanted > 0], wanted[wanted > 0]).pvalue > 1e-4


def test_the_biased_and_the_unbiased_path_draw_the_same_when_nothing_is_biased(fitted):
    u, state = np.random.default_rng(1).random(50_000), np.full(50_000, fitted.counts.state_after([]))
    slow = fitted._draw_biased(state[:2000], u[:2000], np.zeros(2000, dtype=int), None, may_end=True)
    fast = fitted.counts.draw(state, u)
    common = np.bincount(fast, minlength=fitted.counts.vocabulary).argmax()
    assert (slow == common).mean() == pytest.approx((fast == common).mean(), abs=0.05)


def test_shorter_contexts_count_in_how_many_places_not_how_often(tmp_path):
    """What makes it Kneser-Ney: "Francisco" may be frequent, but it follows "San" alone."""
    model = NGram(order=2, vocabulary=300, context=60)
    texts = ["San Francisco " * 6, "the cat the dog the cow a cat a dog a cow"]
    model.fit(Pool.of(text=texts), seed=0, scratch=tmp_path)
    pairs = set()
    for row in model.encode(texts):
        row = [*row, model.end][: model.context]
        pairs |= set(zip([model.counts.vocabulary, *row[:-1]], row, strict=True))
    found = dict(zip(model.counts.tables[0].keys.tolist(), model.counts.tables[0].counts.tolist(), strict=True))
    assert found == Counter(token for _, token in pairs)


def test_it_predicts_real_text_better_than_its_lower_orders():
    splits = Bible(words=16).load(eval_size=400)
    train, heldout = splits["train"].slice(0, 4000), splits["heldout"]
    losses = []
    for order in (1, 2, 3):
        model = NGram(order=order, vocabulary=1000)
        model.fit(train, seed=0, scratch=None)
        losses.append(model.score(heldout).sum() / model.tokens(heldout).sum())
    assert losses[0] > losses[1] + 0.5 > losses[2] + 0.5
    assert losses[2] < 4.6


def test_a_collapsed_pool_leaves_every_number_finite(tmp_path):
    model = NGram(vocabulary=300)
    model.fit(Pool.of(text=["aaaa aaaa"] * 50), seed=0, scratch=tmp_path)
    assert np.isfinite(model.score(Pool.of(text=["zebra", "aaaa", ""]))).all()
    generated = model.sample(5, seed=1)
    assert all(generated.list("text"))


def test_editing_draws_the_all_too_likely_anew_and_leaves_the_rest(fitted):
    pool = Bible(words=16).load(eval_size=50)["heldout"].only(["text"]).bare()
    same, none = fitted.edit(pool, above=1.0, seed=1)
    assert none == 0 and same.list("text") == pool.list("text")
    edited, share = fitted.edit(pool, above=0.5, seed=1)
    assert 0.01 < share < 0.6
    assert edited.list("text") != pool.list("text")
    states, tokens = states_of(fitted, pool)
    assert share <= (fitted.counts.distributions(states)[np.arange(len(tokens)), tokens] > 0.5).mean()
