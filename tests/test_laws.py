"""The engine against closed forms: 4,000 Gaussian chains through the ordinary loop, policies and store."""

from __future__ import annotations

import numpy as np
import pytest
from autophagy import experiment, run
from autophagy.common import laws

SIZE, GENERATIONS, WORLDS = 50, 20, 4000
STANDARD_ERRORS = 4.0


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    wanted = experiment(
        {
            "name": "laws", "generations": GENERATIONS, "size": SIZE, "eval_size": 2,
            "data": {"use": "gaussian", "rows": SIZE * 4, "worlds": WORLDS}, "generator": {"use": "gaussian", "ddof": 0},
            "policies": {
                "replace": None, "accumulate": None, "real": None, "fixed": {"use": "mix", "real_fraction": 0.2},
                "fresh": {"use": "mix", "real_fraction": 0.14, "real": "fresh"},
            },
            "metrics": ["gaussian-moments"],
        }
    )  # fmt: skip
    return run(wanted, store=tmp_path_factory.mktemp("store"), workers=1)


def z(rows, policy, generation, metric, law):
    found = rows[(rows.policy == policy) & (rows.generation == generation)].set_index("metric").value
    return (found[metric] - law) / found[f"{metric}_se"]


@pytest.mark.parametrize("generation", [0, 1, 5, GENERATIONS])
def test_replace_loses_variance_at_the_rate_of_law_5_1(rows, generation):
    assert abs(z(rows, "replace", generation, "variance", laws.replace_variance(generation, size=SIZE))) < STANDARD_ERRORS
    assert abs(z(rows, "replace", generation, "log_variance", laws.replace_log_variance(generation, size=SIZE))) < STANDARD_ERRORS


@pytest.mark.parametrize("generation", [0, 1, 5, GENERATIONS])
def test_accumulate_keeps_variance_as_law_5_3_says(rows, generation):
    assert abs(z(rows, "accumulate", generation, "variance", laws.accumulate_variance(generation, size=SIZE))) < STANDARD_ERRORS


@pytest.mark.parametrize("policy", ["replace", "accumulate", "real", "fixed", "fresh"])
def test_law_5_0_nothing_leaks_is_counted_twice_or_selected(rows, policy):
    for generation in range(GENERATIONS + 1):
        assert abs(z(rows, policy, generation, "conserved", 1.0)) < STANDARD_ERRORS


def test_the_spread_of_the_log_variance_follows_its_law(rows):
    found = rows[(rows.policy == "replace") & (rows.generation == GENERATIONS)].set_index("metric").value
    measured = found["log_variance_se"] ** 2 * WORLDS
    expected = laws.replace_log_variance_spread(GENERATIONS, size=SIZE)
    assert measured == pytest.approx(expected, rel=4 * np.sqrt(2 / WORLDS))


def test_the_laws_tell_the_policies_apart(rows):
    """A test of the tests: each law is far off for the other policy, so a mix-up could not pass."""
    assert abs(z(rows, "replace", GENERATIONS, "variance", laws.accumulate_variance(GENERATIONS, size=SIZE))) > 20
    assert abs(z(rows, "accumulate", GENERATIONS, "variance", laws.replace_variance(GENERATIONS, size=SIZE))) > 20
    assert abs(z(rows, "replace", GENERATIONS, "variance", laws.replace_variance(GENERATIONS - 1, size=SIZE))) > 2


def test_anchor_values():
    """Numbers worked out independently of the code (M = 50, n = 20 fits, that is generation 19)."""
    assert laws.replace_variance(19, size=50) == pytest.approx(0.6676, abs=5e-5)
    assert np.exp(laws.replace_log_variance(19, size=50)) == pytest.approx(0.4426, abs=5e-5)
    assert np.exp(laws.replace_log_variance(19, size=50, ddof=1)) == pytest.approx(0.6630, abs=5e-5)
    assert laws.accumulate_variance(19, size=50) == pytest.approx(0.9684, abs=5e-5)
