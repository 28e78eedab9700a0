"""What the loop hands from stage to stage: prompts, equal parts of what others made, and how many rows."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from autophagy import experiment
from autophagy.common.loop.chain import chain
from autophagy.common.loop.stages import Stages
from autophagy.common.store import Store
from support.tiny import ANALYTIC, TEXT, TINY, VISION

PROMPTED = {**ANALYTIC, "data": "regression", "generator": TINY["regression"], "metrics": ["excess-risk"], "size": 12}


def gone_through(place, written, policy):
    """The generations of a chain, and the prompts and the number of rows of every batch that its models made."""
    stages, asked = Stages(experiment(written), Store(place)), []
    sample = stages.sample

    def remembers(member, model, *, n, seed, given):
        asked.append((n, given, seed))
        return sample(member, model, n=n, seed=seed, given=given)

    stages.sample = remembers
    return list(chain(stages, policy=policy, seed=0)), asked


@pytest.mark.parametrize("prompts", ["real", "fixed", "synthetic"])
def test_prompts_are_every_row_of_the_pool_they_are_to_come_from(tmp_path, prompts):
    generations, asked = gone_through(tmp_path, {**PROMPTED, "prompts": prompts, "policies": ["replace"]}, "replace")
    real = generations[0].train
    pools = [real, *(generation.generated for generation in generations[:-1])] if prompts == "synthetic" else [real] * 4
    given = [pool for _, pool, _ in asked]
    assert [sorted(pool.row_digests()) for pool in given] == [sorted(pool.row_digests()) for pool in pools]
    assert len({pool.digest for pool in given}) == (1 if prompts == "fixed" else 4)
    assert all(pool.table.column_names == list(pool.columns) for pool in given), "a prompt has no notes"


def test_no_prompt_comes_again_before_every_other_has_come(tmp_path):
    curated = {"use": "replace", "curation": {"use": "support.spying_curations:KeepFirst", "keep": 0.6}}
    _, asked = gone_through(tmp_path, {**PROMPTED, "prompts": "fixed", "policies": {"first": curated}}, "first")
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
    written |= {"generators": dict.fromkeys(parts, "gaussian"), "policies": {"shared": {"use": "replace", "learn_from": sources}}}
    generations, _ = gone_through(tmp_path, written, "shared")
    assert {one.member.name: Counter(one.train.list("_source")) for one in generations if one.number == 1} == parts


def test_the_first_of_several_makes_what_it_would_alone_and_no_two_make_the_same(tmp_path):
    several = {key: value for key, value in ANALYTIC.items() if key != "generator"}
    several |= {"generators": dict.fromkeys(("one", "two", "three"), "gaussian"), "generations": 1}
    alone, _ = gone_through(tmp_path, ANALYTIC, "replace")
    generated, _ = gone_through(tmp_path, several, "replace")
    assert len({one.generated.digest for one in generated}) == len(generated) == 6
    assert [one.generated.digest for one in generated if one.member.name == "one"] == [one.generated.digest for one in alone[:2]]


@pytest.mark.parametrize("base", [None, {"context": 8}])
def test_metrics_are_shown_the_base_model_or_where_there_is_none_generation_0s(tmp_path, monkeypatch, base):
    measure, shown = Stages.measure, []
    monkeypatch.setattr(
        Stages, "measure", lambda stages, metric, member, found: [shown.append(found), measure(stages, metric, member, found)][1]
    )
    written = {**TEXT, "generator": TINY["ngram"], "base": base, "policies": ["replace"], "metrics": ["distinct"], "generations": 2}
    generations, _ = gone_through(tmp_path, written, "replace")
    models = {one.model.digest for one in generations}
    assert len(models) == 3
    [under] = {found["base"].digest for found in shown}
    assert (under == generations[0].model.digest) if base is None else (under not in models)
    assert {found["first"].digest for found in shown} == {generations[0].model.digest}
    assert {found["model"].digest for found in shown} == models


def test_what_was_collected_is_counted_where_more_is_done_than_to_keep_all_that_was_made(tmp_path):
    arms = {
        "plain": "replace",
        "scraped": {"use": "replace", "synthetic_fraction": 0.5},
        "curated": {"use": "replace", "curation": "dedup"},
    }
    written = {**ANALYTIC, "data": {"use": "gaussian", "rows": 60, "replicates": 3}, "policies": arms}
    for arm, counted in {"plain": [], "scraped": [0, 1, 2], "curated": [0, 1, 2]}.items():
        generations, _ = gone_through(tmp_path, written, arm)
        assert [one.number for one in generations for row in one.rows if row["metric"] == "candidates"] == counted, arm


def test_a_model_makes_what_the_next_generation_takes_and_the_last_one_what_is_measured(tmp_path):
    policies = {"growing": {"use": "replace-growing", "growth": 2.0}, "replace": None}
    written = {**VISION, "generator": TINY["gmm"], "size": 24, "eval_size": 10, "policies": policies, "metrics": ["pixel-variance"]}
    growing, same = (gone_through(tmp_path, {**written, "unequal_steps": True}, policy)[0] for policy in policies)
    assert [len(one.generated) for one in growing] == [96, 216, 384, 24]
    assert [len(one.generated) for one in same] == [24] * 4
    assert np.array_equal(growing[0].generated.array("image")[:24], same[0].generated.array("image"))
    [metric_rows] = {tuple(row["value"] for row in one.rows if row["metric"] == "pixel_variance") for one in (growing[0], same[0])}
    assert len(metric_rows) == 1, "the same rows are measured however many were made"


def test_a_metric_is_shown_as_many_rows_of_each_kind_as_it_says_and_the_right_ones(tmp_path):
    """Under `accumulate`, where pools grow: rows of the last generation alone, beside held-out rows, the real pool and as many of it."""
    written = {**VISION, "policies": ["accumulate"], "seeds": [0], "metrics": ["pixel-variance"], "floors": 2, "size": 60, "eval_size": 20}
    stages, seen = Stages(experiment(written), Store(tmp_path)), []
    measure = stages.measure

    def remembers(metric, member, shown):
        seen.append(shown)
        return measure(metric, member, shown)

    stages.measure = remembers
    generations = list(chain(stages, policy="accumulate", seed=0))
    splits, real = stages.real.splits, generations[0].train
    rows = lambda pool: set(pool.row_digests())  # noqa: E731
    assert len(seen) == 3 * len(generations)
    for place, generation in enumerate(generations):
        own, *floors = seen[3 * place : 3 * place + 3]
        assert own["pool"].digest == real.digest
        assert len(own["generated"]) == len(own["real"]) == len(own["heldout"]) == 20
        assert rows(own["generated"]) <= rows(generation.generated) and rows(own["real"]) <= rows(real)
        assert own["real"].digest == seen[0]["real"].digest, "the same real rows in every generation"
        assert own["heldout"].digest == splits["heldout"].digest
        assert floors[0]["generated"].digest == splits["control"].digest and floors[0]["heldout"].digest == splits["heldout"].digest
        assert rows(floors[1]["generated"]) | rows(floors[1]["heldout"]) == rows(splits["control"]) | rows(splits["heldout"])
        assert all(floor["model"] is own["first"] for floor in floors), "a floor is of generation 0's model"
        assert own["model"] is generation.model
