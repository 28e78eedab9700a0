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
    grams = np.concatenate([model._codes(row) for row in model._tokens(pool.list("text"))])
    return grams // model._base, grams % model._base


def test_every_distribution_sums_to_one_also_after_contexts_never_seen(fitted):
    states, _ = states_of(fitted, Bible(words=16).load(eval_size=20)["control"])
    assert np.allclose(fitted.chances(states).sum(1), 1)
    assert (fitted.chances(states) > 0).all()


def test_scores_are_the_distributions_that_are_drawn_from(fitted):
    pool = Bible(words=16).load(eval_size=20)["control"]
    states, tokens = states_of(fitted, pool)
    from_whole = -np.log(fitted.chances(states)[np.arange(len(tokens)), tokens])
    assert fitted.score(pool).sum() == pytest.approx(from_whole.sum())
    assert fitted.tokens(pool).sum() == len(tokens)


def test_draws_follow_the_distribution(fitted):
    """A state with a known two-token context, one known by its last token alone, and one never seen: a chi-squared test each."""
    the = fitted._tokens([" the"])[0]
    rng = np.random.default_rng(0)
    for state in (fitted._codes([0], before=[*fitted._tokens(["of"])[0], *the])[0] // fitted._base, 7 * fitted._base + the[-1], 0):
        drawn = np.bincount(fitted._draw(np.full(200_000, state), rng.random(200_000)), minlength=fitted._size)
        expected = fitted.chances(np.array([state]))[0] * 200_000
        often = expected > 20
        observed, wanted = [np.append(counts[often], counts[~often].sum()) for counts in (drawn, expected)]
        assert chisquare(observed[wanted > 0], wanted[wanted > 0]).pvalue > 1e-4


def test_the_biased_and_the_unbiased_path_draw_the_same_when_nothing_is_biased(fitted):
    u, state = np.random.default_rng(1).random(50_000), np.full(50_000, fitted._codes([0])[0] // fitted._base)
    slow = fitted._draw_biased(state[:2000], u[:2000], np.zeros(2000, dtype=int), None, may_end=True)
    fast = fitted._draw(state, u)
    common = np.bincount(fast, minlength=fitted._size).argmax()
    assert (slow == common).mean() == pytest.approx((fast == common).mean(), abs=0.05)


def test_shorter_contexts_count_in_how_many_places_not_how_often(tmp_path):
    """What makes it Kneser-Ney: "Francisco" may be frequent, but it follows "San" alone."""
    model = NGram(order=2, vocabulary=300, context=60)
    texts = ["San Francisco " * 6, "the cat the dog the cow a cat a dog a cow"]
    model.fit(Pool.of(text=texts), seed=0, scratch=tmp_path)
    pairs = set()
    for row in model._tokens(texts):
        row = [*row, model._end][: model.context]
        pairs |= set(zip([model._size, *row[:-1]], row, strict=True))
    found = dict(zip(model._orders[0].keys.tolist(), model._orders[0].counts.tolist(), strict=True))
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
    assert share <= (fitted.chances(states)[np.arange(len(tokens)), tokens] > 0.5).mean()
