"""One chain: prompts, shares of several teachers, numbers of rows, and the inputs of metrics."""

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


def run_chain(store, config, policy):
    """The generations of a chain, and (number of rows, prompts, seed) of every batch that its models sampled."""
    stages, batches = Stages(experiment(config), Store(store)), []
    sample = stages.sample

    def record(member, model, *, n, seed, given):
        batches.append((n, given, seed))
        return sample(member, model, n=n, seed=seed, given=given)

    stages.sample = record
    return list(chain(stages, policy=policy, seed=0)), batches


@pytest.mark.parametrize("prompts", ["real", "fixed", "synthetic"])
def test_prompts_are_all_rows_of_their_pool(tmp_path, prompts):
    generations, batches = run_chain(tmp_path, {**PROMPTED, "prompts": prompts, "policies": ["replace"]}, "replace")
    real = generations[0].train
    pools = [real, *(generation.generated for generation in generations[:-1])] if prompts == "synthetic" else [real] * 4
    given = [pool for _, pool, _ in batches]
    assert [sorted(pool.row_digests()) for pool in given] == [sorted(pool.row_digests()) for pool in pools]
    assert len({pool.digest for pool in given}) == (1 if prompts == "fixed" else 4)
    assert all(pool.table.column_names == list(pool.columns) for pool in given), "prompts hold data columns only"


def test_every_prompt_is_used_before_one_is_repeated(tmp_path):
    curated = {"use": "replace", "curation": {"use": "support.spying_curations:KeepFirst", "keep": 0.6}}
    _, batches = run_chain(tmp_path, {**PROMPTED, "prompts": "fixed", "policies": {"first": curated}}, "first")
    assert [n for n, _, _ in batches] == [12, 8, 12, 8, 12, 8, 12], "the last generation is not curated"
    for (_, first, _), (_, second, _) in zip(batches[:-1:2], batches[1::2], strict=True):
        assert second.row_digests() == first.row_digests()[:8]
    assert len({seed for _, _, seed in batches}) == 7


def test_models_without_prompts_get_none(tmp_path):
    _, batches = run_chain(tmp_path, {**PROMPTED, "policies": ["replace"]}, "replace")
    assert [given for _, given, _ in batches] == [None] * 4


@pytest.mark.parametrize(
    ("learn_from", "shares"),
    [
        ("self", {"one": {"one": 11}, "two": {"two": 11}, "three": {"three": 11}}),
        ("other", {"one": {"two": 6, "three": 5}, "two": {"one": 6, "three": 5}, "three": {"one": 6, "two": 5}}),
        ("union", {name: {"one": 4, "two": 4, "three": 3} for name in ("one", "two", "three")}),
    ],
)
def test_shares_of_teachers_differ_by_one_row_at_most(tmp_path, learn_from, shares):
    config = {key: value for key, value in ANALYTIC.items() if key != "generator"} | {"size": 11, "generations": 1}
    config |= {"generators": dict.fromkeys(shares, "gaussian"), "policies": {"shared": {"use": "replace", "learn_from": learn_from}}}
    generations, _ = run_chain(tmp_path, config, "shared")
    assert {one.member.name: Counter(one.train.list("_source")) for one in generations if one.number == 1} == shares


def test_first_of_several_members_samples_as_if_alone(tmp_path):
    several = {key: value for key, value in ANALYTIC.items() if key != "generator"}
    several |= {"generators": dict.fromkeys(("one", "two", "three"), "gaussian"), "generations": 1}
    alone, _ = run_chain(tmp_path, ANALYTIC, "replace")
    generated, _ = run_chain(tmp_path, several, "replace")
    assert len({one.generated.digest for one in generated}) == len(generated) == 6, "no two members sample the same rows"
    assert [one.generated.digest for one in generated if one.member.name == "one"] == [one.generated.digest for one in alone[:2]]


@pytest.mark.parametrize("base", [None, {"context": 8}])
def test_metrics_read_the_base_model_or_else_generation_0(tmp_path, monkeypatch, base):
    measure, all_inputs = Stages.measure, []

    def record(stages, metric, member, inputs):
        all_inputs.append(inputs)
        return measure(stages, metric, member, inputs)

    monkeypatch.setattr(Stages, "measure", record)
    config = {**TEXT, "generator": TINY["ngram"], "base": base, "policies": ["replace"], "metrics": ["distinct"], "generations": 2}
    generations, _ = run_chain(tmp_path, config, "replace")
    models = {one.model.digest for one in generations}
    assert len(models) == 3
    [base_model] = {inputs["base"].digest for inputs in all_inputs}
    assert (base_model == generations[0].model.digest) if base is None else (base_model not in models)
    assert {inputs["first"].digest for inputs in all_inputs} == {generations[0].model.digest}
    assert {inputs["model"].digest for inputs in all_inputs} == models


def test_candidates_are_reported_for_mixed_and_curated_arms_only(tmp_path):
    arms = {
        "plain": "replace",
        "mixed": {"use": "replace", "synthetic_fraction": 0.5},
        "curated": {"use": "replace", "curation": "dedup"},
    }
    config = {**ANALYTIC, "data": {"use": "gaussian", "rows": 60, "replicates": 3}, "policies": arms}
    for arm, reported in {"plain": [], "mixed": [0, 1, 2], "curated": [0, 1, 2]}.items():
        generations, _ = run_chain(tmp_path, config, arm)
        assert [one.number for one in generations for row in one.rows if row["metric"] == "candidates"] == reported, arm


def test_models_sample_the_rows_that_the_next_generation_needs(tmp_path):
    policies = {"growing": {"use": "replace-growing", "growth": 2.0}, "replace": None}
    config = {**VISION, "generator": TINY["gmm"], "size": 24, "eval_size": 10, "policies": policies, "metrics": ["pixel-variance"]}
    growing, same = (run_chain(tmp_path, {**config, "unequal_steps": True}, policy)[0] for policy in policies)
    assert [len(one.generated) for one in growing] == [96, 216, 384, 24]
    assert [len(one.generated) for one in same] == [24] * 4
    assert np.array_equal(growing[0].generated.array("image")[:24], same[0].generated.array("image"))
    [metric_rows] = {tuple(row["value"] for row in one.rows if row["metric"] == "pixel_variance") for one in (growing[0], same[0])}
    assert len(metric_rows) == 1, "the same rows are measured, however many are sampled"


def test_metrics_compare_equal_numbers_of_rows_and_measure_floors_once(tmp_path):
    """Pools grow under `accumulate`. Still every input has `eval_size` rows, and `generated` holds rows of one generation only.

    Floors do not depend on the generation: generation 0 measures them, with its own model.
    """
    config = {**VISION, "policies": ["accumulate"], "seeds": [0], "metrics": ["pixel-variance"], "floors": 2, "size": 60, "eval_size": 20}
    stages, all_inputs = Stages(experiment(config), Store(tmp_path)), []
    measure = stages.measure

    def record(metric, member, inputs):
        all_inputs.append(inputs)
        return measure(metric, member, inputs)

    stages.measure = record
    generations, calls = [], []
    for generation in chain(stages, policy="accumulate", seed=0):
        generations.append(generation)
        calls.append(all_inputs[sum(map(len, calls)) :])
    splits, real = stages.real.splits, generations[0].train
    rows = lambda pool: set(pool.row_digests())  # noqa: E731
    assert [len(inputs) for inputs in calls] == [3, 1, 1, 1], "the metric and two floors at generation 0, later the metric alone"

    own, *floors = calls[0]
    assert floors[0]["generated"].digest == splits["control"].digest and floors[0]["heldout"].digest == splits["heldout"].digest
    assert rows(floors[1]["generated"]) | rows(floors[1]["heldout"]) == rows(splits["control"]) | rows(splits["heldout"])
    for floor in floors:
        assert len(floor["generated"]) == len(floor["heldout"]) == 20
        assert floor["model"] is floor["first"] is generations[0].model, "floors are measured with the model of generation 0"
        assert {name: floor[name] for name in ("pool", "real", "base")} == {name: own[name] for name in ("pool", "real", "base")}

    for generation, (inputs, *_) in zip(generations, calls, strict=True):
        assert inputs["model"] is generation.model and inputs["first"] is generations[0].model
        assert inputs["pool"].digest == real.digest
        assert len(inputs["generated"]) == len(inputs["real"]) == len(inputs["heldout"]) == 20
        assert rows(inputs["generated"]) <= rows(generation.generated) and rows(inputs["real"]) <= rows(real)
        assert inputs["real"].digest == own["real"].digest, "the same real rows in every generation"
        assert inputs["heldout"].digest == splits["heldout"].digest

    measured = [[row for row in generation.rows if row["metric"] == "pixel_variance"] for generation in generations]
    [floor] = {(row["floor"], row["floor_sd"]) for [row] in measured}
    values = [measure(stages.experiment.metrics[0], generations[0].member, inputs)["pixel_variance"] for inputs in floors]
    assert floor == (np.mean(values), np.std(values, ddof=1)), "all generations report the floors of generation 0"
