"""Verdicts on chains that were constructed to meet a definition of collapse, or not."""

from __future__ import annotations

import pytest
from autophagy.common.analysis.series import metric_series
from autophagy.common.analysis.summary import summarize_chains
from autophagy.common.analysis.verdicts import DEFINITIONS, verdicts
from support.result_rows import as_columns, metric_rows

FLAT, UP, LEVEL, DOWN, COLLAPSED = (
    [1.0, 1.0, 1.0, 1.0, 1.0],
    [1.0, 2.0, 3.0, 4.0, 5.0],
    [1.0, 3.0, 4.0, 4.1, 4.1],
    [1.0, 0.9, 0.8, 0.7, 0.6],
    [1.0, 0.6, 0.3, 0.2, 0.1],
)


@pytest.mark.parametrize(
    ("definition", "metric", "axis", "better", "yes", "no"),
    [
        ("Any increase of risk", "loss", "likelihood", False, LEVEL, FLAT),
        ("Any increase of risk", "distance", "fidelity", False, UP, DOWN),
        ("Unbounded risk", "loss", "likelihood", False, UP, LEVEL),
        ("Variance to zero", "variety", "diversity", True, COLLAPSED, DOWN),
        ("Tail loss", "rare", "tail", True, DOWN, FLAT),
        ("Mode loss", "coverage", "tail", True, DOWN, UP),
    ],
)
def test_each_definition_separates_chains_that_meet_it_from_others(definition, metric, axis, better, yes, no):
    by_policy = {"yes": [yes, yes], "no": [no, no], "either": [yes, no]}
    chains = summarize_chains(metric_series(as_columns(metric_rows(metric, by_policy, axis=axis, better=better, floor_sd=0.01))))
    by_answer = {one.policy: one for one in verdicts(chains, generations=4) if one.definition == definition}
    assert {policy: one.answer for policy, one in by_answer.items()} == {"yes": "yes", "no": "no", "either": "partly"}
    assert by_answer["either"].shares == {metric: 0.5}


def test_definitions_without_metrics_or_with_too_few_generations_are_not_measured():
    chains = summarize_chains(metric_series(as_columns(metric_rows("loss", {"a": [[1.0, 2.0, 3.0]]}))))
    answers = {one.definition: one.answer for one in verdicts(chains, generations=2)}
    assert answers["Any increase of risk"] == "yes"
    assert answers["Unbounded risk"] == answers["Tail loss"] == answers["Changed scaling law"] == "not measured"
    assert set(answers) == {definition.name for definition in DEFINITIONS}
