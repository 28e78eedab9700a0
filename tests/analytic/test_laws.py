"""Tests of the engine against closed-form laws. They run thousands of Gaussian chains with the real loop, policies and store."""

from __future__ import annotations

import numpy as np
import pytest
from autophagy import experiment, run
from autophagy.analytic import laws
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.xdist_group("laws")  # one process: they share three large runs

SIZE, GENERATIONS, CHAINS = 50, 20, 3000
STANDARD_ERRORS = 4.0


POLICIES = {
    "replace": None, "accumulate": None, "accumulate-subsample": None, "real": None, "real-fresh": None, "real-growing": None,
    "window": {"use": "window", "generations": 3}, "fixed": {"use": "mix", "real_fraction": 0.3},
    "fresh": {"use": "mix", "real_fraction": 0.1, "real": "fresh"},
    "schedule": {"use": "mix", "real_fraction": "1/t^0.5", "real": "fresh"}, "replace-growing": None,
    "scraped": {"use": "replace", "synthetic_fraction": 0.9},
}  # fmt: skip


def chains(store, **changes):
    """Run CHAINS chains and return their rows. `changes` replace keys of the config."""
    config = {
        "name": "laws", "generations": GENERATIONS, "size": SIZE, "eval_size": 2,
        "data": {"use": "gaussian", "rows": SIZE * (GENERATIONS + 1), "replicates": CHAINS},
        "generator": {"use": "gaussian", "ddof": 0},
        "policies": POLICIES, "metrics": ["moments"], "unequal_steps": True,
    }  # fmt: skip
    return run(experiment({**config, **changes}), store=store, workers=1)


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return chains(tmp_path_factory.mktemp("store"))


@pytest.fixture(scope="module")
def unbiased(tmp_path_factory):
    return chains(tmp_path_factory.mktemp("store"), generator={"use": "gaussian", "ddof": 1}, policies=["replace", "accumulate"])


@pytest.fixture(scope="module")
def sharpened(tmp_path_factory):
    """Rows of chains with lambda = 0.8, so that samples have less variance than the fitted model."""
    generator = {"use": "gaussian", "sampling": {"variance_scale": 0.8}}
    return chains(
        tmp_path_factory.mktemp("store"),
        generator=generator,
        policies={name: POLICIES[name] for name in ("replace", "accumulate", "fresh")},
    )


def z(rows, policy, generation, metric, law):
    found = rows[(rows.policy == policy) & (rows.generation == generation)].set_index("metric").value
    return (found[metric] - law) / found[f"{metric}_se"]


@pytest.mark.parametrize("generation", [0, 1, 5, GENERATIONS])
def test_replace_variance_matches_law_5_1(rows, generation):
    assert abs(z(rows, "replace", generation, "variance", laws.replace_variance(generation, size=SIZE))) < STANDARD_ERRORS
    assert abs(z(rows, "replace", generation, "log_variance", laws.replace_log_variance(generation, size=SIZE))) < STANDARD_ERRORS


@pytest.mark.parametrize("generation", [0, 1, 5, GENERATIONS])
def test_accumulate_variance_matches_law_5_3(rows, generation):
    assert abs(z(rows, "accumulate", generation, "variance", laws.accumulate_variance(generation, size=SIZE))) < STANDARD_ERRORS


@pytest.mark.parametrize("policy", POLICIES)
def test_conserved_quantity_matches_law_5_0(rows, policy):
    for generation in range(GENERATIONS + 1):
        assert abs(z(rows, policy, generation, "conserved", 1.0)) < STANDARD_ERRORS


@pytest.mark.parametrize("generation", [0, 1, 2, 5, GENERATIONS])
def test_accumulate_subsample_variance_matches_law_5_4(rows, generation):
    law = laws.subsample_variance(generation, size=SIZE)
    assert abs(z(rows, "accumulate-subsample", generation, "variance", law)) < STANDARD_ERRORS


@pytest.mark.parametrize("policy", ["fresh", "scraped"])
@pytest.mark.parametrize("generation", [1, 3, GENERATIONS])
def test_fresh_mix_matches_law_5_5(rows, generation, policy):
    law = laws.mix_fresh(generation, size=SIZE, real_fraction=0.1)[0]
    assert abs(z(rows, policy, generation, "variance", law)) < STANDARD_ERRORS
    assert abs(z(rows, policy, generation, "mean_squared_error", 1 - law)) < STANDARD_ERRORS


def test_fixed_mix_converges_to_law_5_6(rows):
    law = laws.mix_fixed_point(size=SIZE, real_fraction=0.3, real="fixed")
    assert abs(z(rows, "fixed", GENERATIONS, "mean_squared_error", law)) < STANDARD_ERRORS
    assert law / laws.mix_fixed_point(size=SIZE, real_fraction=0.3, real="fresh") == pytest.approx(3 - 2 * 0.3)


@pytest.mark.slow
@pytest.mark.parametrize("generation", [0, 1, 5, GENERATIONS])
def test_unbiased_estimator_matches_laws_5_2_and_5_3(unbiased, generation):
    """The mean variance stays at 1, but the mean log-variance decreases under `replace`."""
    law = laws.replace_log_variance(generation, size=SIZE, ddof=1)
    assert abs(z(unbiased, "replace", generation, "log_variance", law)) < STANDARD_ERRORS
    assert abs(z(unbiased, "replace", generation, "variance", 1.0)) < STANDARD_ERRORS
    law = laws.replace_mean_squared_error(generation, size=SIZE, ddof=1)
    assert abs(z(unbiased, "replace", generation, "mean_squared_error", law)) < STANDARD_ERRORS
    law = laws.accumulate_variance_unbiased(generation, size=SIZE)
    assert abs(z(unbiased, "accumulate", generation, "variance", law)) < STANDARD_ERRORS


@pytest.mark.slow
@pytest.mark.parametrize("generation", [0, 1, 5, GENERATIONS])
def test_biased_sampling_variance_matches_law_5_7(sharpened, generation):
    found = {
        "replace": laws.replace_variance(generation, size=SIZE, scale=0.8),
        "accumulate": laws.accumulate_variance(generation, size=SIZE, scale=0.8),
        "fresh": laws.mix_fresh(generation, size=SIZE, real_fraction=0.1, scale=0.8)[0],
    }
    for policy, law in found.items():
        assert abs(z(sharpened, policy, generation, "variance", law)) < STANDARD_ERRORS, policy


def test_replace_growing_variance_matches_law_5_12(rows):
    """Law 5.12: E s^2 = prod (1 - 1/M_i) with M_i = i M."""
    law = laws.growing_variance(SIZE * np.arange(1, GENERATIONS + 2))
    assert abs(z(rows, "replace-growing", GENERATIONS, "variance", law)) < STANDARD_ERRORS


@pytest.mark.slow
@settings(max_examples=8, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32 - 1))
def test_law_5_0_holds_for_random_policies_without_selection(seed, tmp_path):
    found = chains(tmp_path, policies={"odd": {"use": "support.faulty_policies:RandomPools", "seed": seed}}, generations=6)
    for generation in range(7):
        assert abs(z(found, "odd", generation, "conserved", 1.0)) < 5


@pytest.mark.slow
def test_law_5_0_holds_when_models_learn_from_each_other(tmp_path):
    generators = {"one": "gaussian", "two": "gaussian"}
    policies = {name: {"use": use, "learn_from": name} for name, use in (("other", "replace"), ("union", "accumulate"))}
    rows = chains(tmp_path, generator=None, generators=generators, policies=policies, generations=8)
    for generator in generators:
        for policy in policies:
            for generation in (1, 4, 8):
                assert abs(z(rows[rows.generator == generator], policy, generation, "conserved", 1.0)) < STANDARD_ERRORS


@pytest.mark.slow
def test_law_5_0_detects_selection_by_a_curation(tmp_path):
    policies = {"verify": {"use": "replace", "curation": {"use": "verify", "keep": 0.8}}}
    rows = chains(
        tmp_path, policies=policies, generations=3, data={"use": "gaussian", "rows": SIZE, "replicates": 1}, seeds=list(range(40))
    )
    found = rows[(rows.generation == 3) & (rows.metric == "conserved")].value
    assert (found.mean() - 1) / (found.std() / len(found) ** 0.5) < -10


def test_law_5_0_detects_selection_by_a_policy(tmp_path):
    found = chains(tmp_path, policies={"cheat": {"use": "support.faulty_policies:SelectsMiddle"}}, generations=3)
    assert z(found, "cheat", 3, "conserved", 1.0) < -20


def test_log_variance_spread_matches_its_law(rows):
    found = rows[(rows.policy == "replace") & (rows.generation == GENERATIONS)].set_index("metric").value
    measured = found["log_variance_se"] ** 2 * CHAINS
    expected = laws.replace_log_variance_spread(GENERATIONS, size=SIZE)
    assert measured == pytest.approx(expected, rel=4 * np.sqrt(2 / CHAINS))


def test_laws_differ_between_policies(rows):
    """Checks the tests above: each law disagrees with the data of the other policy and of another generation."""
    assert abs(z(rows, "replace", GENERATIONS, "variance", laws.accumulate_variance(GENERATIONS, size=SIZE))) > 20
    assert abs(z(rows, "accumulate", GENERATIONS, "variance", laws.replace_variance(GENERATIONS, size=SIZE))) > 20
    assert abs(z(rows, "replace", 1, "variance", laws.replace_variance(0, size=SIZE))) > 2, "off by one generation"


def test_laws_match_independent_values():
    """The expected values were computed independently of the code, for M = 50 and n = 20 fits (generation 19)."""
    assert laws.replace_variance(19, size=50) == pytest.approx(0.6676, abs=5e-5)
    assert np.exp(laws.replace_log_variance(19, size=50)) == pytest.approx(0.4426, abs=5e-5)
    assert np.exp(laws.replace_log_variance(19, size=50, ddof=1)) == pytest.approx(0.6630, abs=5e-5)
    assert laws.accumulate_variance(19, size=50) == pytest.approx(0.9684, abs=5e-5)
