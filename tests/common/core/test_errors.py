"""The texts that error messages are made of."""

from __future__ import annotations

from autophagy.common.core.errors import MAX_NAMES, did_you_mean, short_repr


def test_similar_names_are_suggested():
    assert did_you_mean("replase", ["mix", "replace"]) == "; did you mean 'replace'?"


def test_known_names_are_listed_up_to_a_limit():
    assert did_you_mean("x", ["mix", "accumulate"]) == "; known: accumulate, mix"
    assert did_you_mean("x", []) == ""
    names = [f"name-{number:03}" for number in range(MAX_NAMES + 60)]
    text = did_you_mean("qqqqqq", names)
    assert text.endswith(f"name-{MAX_NAMES - 1:03}, and 60 more")


def test_long_values_are_shortened():
    assert short_repr([1, "a"]) == "[1, 'a']"
    assert len(short_repr("x" * 10_000)) < 120
