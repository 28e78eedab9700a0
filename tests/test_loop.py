"""What the loop hands from stage to stage: prompts, equal parts of what others made, and how many rows."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from autophagy import experiment
from autophagy.common.chain import chain
from autophagy.common.lab import Lab
from autophagy.common.store import Store
from tiny import ANALYTIC, TINY, VISION

PROMPTED = {**ANALYTIC, "data": "regression", "generator": TINY["regression"], "metrics": ["excess-risk"], "size": 12}


def gone_through(place, written, policy):
    """The generations of a chain, and the prompts and the number of rows of every batch that its models made."""
    lab, asked = Lab(experiment(written), Store(place)), []
    sample = lab.sample

    def remembers(member, model, *, n, seed, given):
        asked.append((n, given, seed))
        return sample(member, model, n=n, seed=seed, given=given)

    lab.sample = remembers
    return list(chain(lab, policy=policy, seed=0)), asked


@pytest.mark.parametrize("prompts", ["real", "frozen", "synthetic"])
def test_prompts_are_every_row_of_the_pool_they_are_to_come_from(tmp_path, prompts):
    generations, asked = gone_through(tmp_path, {**PROMPTED, "prompts": prompts, "policies": ["replace"]}, "replace")
    real = generations[0].train
    pools = [real, *(generation.made for generation in generations[:-1])] if prompts == "synthetic" else [real] * 4
    given = [pool for _, pool, _ in asked]
    assert [sorted(pool.row_digests()) for pool in given] == [sorted(pool.row_digests()) for pool in pools]
    assert len({pool.digest for pool in given}) == (1 if prompts == "frozen" else 4)
    assert all(pool.table.column_names == list(pool.columns) for pool in given), "a prompt has no notes"


def test_no_prompt_comes_again_before_every_other_has_come(tmp_path):
    curated = {"use": "replace", "curation": {"use": "odd_curation:First", "keep": 0.6}}
    _, asked = gone_through(tmp_path, {**PROMPTED, "prompts": "frozen", "policies": {"first": curated}}, "first")
    assert [n for n, _, _ in asked] == [12, 8, 12, 8, 12, 8, 12], "the last generation's output is not curated"
    for (_, first, _), (_, second, _) in zip(asked[:-1:2], asked[1::2], strict=True):
        assert second.row_digests() == first.row_digests()[:8]
    assert len({seed for _, _, seed in asked}) == 7


def test_without_prompts_nothing_is_continued(tmp_path):
    _, asked = gone_through(tmp_path, {**PROMPTED, "policies": ["replace"]}, "replace")
    assert [given for _, given, _ in asked] == [None] * 4


@pytest.mark.parametrize(
    ("sources", "parts"),
    [
        ("self", {"one": {"one": 11}, "two": {"two": 11}, "three": {"three": 11}}),
        ("other", {"one": {"two": 6, "three": 5}, "two": {"one": 6, "three": 5}, "three": {"one": 6, "two": 5}}),
        ("union", {name: {"one": 4, "two": 4, "three": 3} for name in ("one", "two", "three")}),
    ],
)
def test_a_history_of_several_has_parts_that_differ_by_a_row_at_most(tmp_path, sources, parts):
    written = {key: value for key, value in ANALYTIC.items() if key != "generator"} | {"size": 11, "generations": 1}
    written |= {"generators": dict.fromkeys(parts, "gaussian"), "policies": {"shared": {"use": "replace", "sources": sources}}}
    generations, _ = gone_through(tmp_path, written, "shared")
    assert {one.member.name: Counter(one.train.list("_source")) for one in generations if one.number == 1} == parts


def test_a_model_makes_what_the_next_generation_takes_and_the_last_one_what_is_measured(tmp_path):
    policies = {"growing": {"use": "replace-growing", "growth": 2.0}, "replace": None}
    written = {**VISION, "generator": TINY["gmm"], "size": 24, "eval_size": 10, "policies": policies, "metrics": ["pixel-variance"]}
    growing, same = (gone_through(tmp_path, {**written, "unequal_steps": True}, policy)[0] for policy in policies)
    assert [len(one.made) for one in growing] == [96, 216, 384, 24]
    assert [len(one.made) for one in same] == [24] * 4
    assert np.array_equal(growing[0].made.array("image")[:24], same[0].made.array("image"))
    [measured] = {tuple(row["value"] for row in one.rows if row["metric"] == "pixel_variance") for one in (growing[0], same[0])}
    assert len(measured) == 1, "the same rows are measured however many were made"
