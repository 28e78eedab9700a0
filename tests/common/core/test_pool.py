"""Pools: digests, selection, concatenation, types."""

from __future__ import annotations

import numpy as np
import pytest
from autophagy.common.core.pool import REAL, Pool, count_by_generation
from hypothesis import given
from hypothesis import strategies as st


def test_digest_depends_on_samples_only(tmp_path):
    images = np.arange(4 * 2 * 2 * 1, dtype=np.uint8).reshape(4, 2, 2, 1)
    whole = Pool.of(image=images, text=["a", "b", "", "dé"])
    parts = Pool.concat([whole.slice(0, 1), whole.slice(1, 4)]).note(generation=3)
    assert parts.digest == whole.digest
    whole.note(generation=REAL).save(tmp_path)
    assert Pool.load(tmp_path).digest == whole.digest
    assert Pool.of(image=images + 1, text=["a", "b", "", "dé"]).digest != whole.digest
    assert Pool.of(x=np.zeros(3, np.float32)).digest != Pool.of(x=np.zeros(3, np.int32)).digest
    assert Pool.of(x=["ab", "c"]).digest != Pool.of(x=["a", "bc"]).digest


@given(st.lists(st.text(), min_size=1, max_size=20), st.randoms())
def test_take_slice_and_concat_keep_rows(texts, random):
    pool = Pool.of(text=texts).note(generation=np.arange(len(texts)))
    order = list(range(len(texts)))
    random.shuffle(order)
    cut = random.randrange(len(texts) + 1)
    again = Pool.concat([pool.take(order[:cut]), pool.take(order[cut:])])
    assert again.list("text") == [texts[row] for row in order]
    assert again.list("_generation") == order


def test_choose_is_sorted_and_without_replacement():
    pool = Pool.of(x=np.arange(50))
    chosen = pool.choose(20, np.random.default_rng(1)).array("x")
    assert len(set(chosen)) == 20
    assert (np.diff(chosen) > 0).all()
    with pytest.raises(ValueError, match="51 of 50"):
        pool.choose(51, np.random.default_rng(1))


def test_array_shapes_and_notes_are_preserved():
    pool = Pool.of(image=np.zeros((3, 4, 5, 2), np.uint8), label=np.arange(3)).note(generation=[0, 1, 1])
    assert pool.array("image").shape == (3, 4, 5, 2)
    assert pool.slice(0, 0).array("image").shape == (0, 4, 5, 2)
    assert pool.columns == ("image", "label")
    assert pool.only(["image"]).columns == ("image",)
    assert count_by_generation(pool) == {0: 1, 1: 2}


def test_concat_rejects_different_columns_or_types():
    with pytest.raises(ValueError, match="differ in their columns"):
        Pool.concat([Pool.of(x=np.zeros(2)), Pool.of(y=np.zeros(2))])
    with pytest.raises(ValueError, match="differ in their types"):
        Pool.concat([Pool.of(x=np.zeros(2)), Pool.of(x=np.zeros(2, np.float32))])
    with pytest.raises(ValueError, match="a pool holds"):
        Pool.of(x=np.array([True, False]))


def test_empty_pool_keeps_types_and_shapes():
    some = Pool.of(x=np.zeros((3, 2, 2), np.float32), n=np.arange(3), text=["a", "b", "c"])
    none = Pool.of(x=np.zeros((0, 2, 2), np.float32), n=np.arange(0), text=[])
    assert none.table.schema == some.table.schema
    assert none.array("x").shape == (0, 2, 2)
    assert Pool.concat([none, some]).digest == some.digest
