"""What rows say: onsets, half-lives and intervals against numbers worked out by hand, verdicts on chains made to earn them."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
import scipy.stats
from autophagy.common.analysis.summary import DEFINITIONS, chains, control, interval, policies, verdicts


def rows(metric, by_policy, *, axis="likelihood", better=False, floor=1.0, floor_sd=0.0):
    """by_policy: policy -> one list of values over generations per seed."""
    return pandas.DataFrame(
        {"metric": metric, "axis": axis, "unit": "u", "higher_is_better": better, "floor": floor, "floor_sd": floor_sd, "n": 9,
         "generator": "g",
         "policy": policy, "seed": seed, "generation": generation, "value": value}
        for policy, chains_of in by_policy.items()
        for seed, values in enumerate(chains_of)
        for generation, value in enumerate(values)
    )  # fmt: skip


def only(found):
    assert len(found) == 1
    return found.iloc[0]


def test_a_chain_in_numbers_worked_out_by_hand():
    one = only(chains(rows("loss", {"a": [[2.0, 2.1, 3.0, 5.0, 6.0]]}, floor_sd=0.1)))
    assert (one["first"], one["last"], one.ratio, one.worse) == (2, 6, 3, 4)
    assert one.noise == pytest.approx(2 * np.sqrt(2) * 0.1)
    assert one.onset == 2, "0.1 more is noise, 1 more is not"
    assert one.half_life == pytest.approx(2.5), "4 is half-way between 3 and 5"
    assert one.slope == pytest.approx(np.polyfit(range(5), [2.0, 2.1, 3.0, 5.0, 6.0], 1)[0])
    assert (one.early, one.late) == (pytest.approx(0.5), pytest.approx(1.5))


def test_what_is_better_when_higher_is_worse_when_it_falls():
    one = only(chains(rows("recall", {"a": [[0.8, 0.6, 0.2]]}, axis="diversity", better=True)))
    assert one.worse == pytest.approx(0.6) and one.half_life == pytest.approx(1.5) and one.onset == 1


def test_an_onset_is_for_good_and_from_the_worse_of_floor_and_generation_0():
    assert np.isnan(only(chains(rows("loss", {"a": [[2.0, 9.0, 2.0]]}))).onset), "it came back"
    assert only(chains(rows("loss", {"a": [[2.0, 9.0, 2.0, 3.0]]}))).onset == 3
    assert only(chains(rows("loss", {"a": [[2.0, 2.5, 4.0]]}, floor=3.0))).onset == 2, "generation 0 was better than the floor"


def test_a_metrics_own_standard_error_counts_as_noise():
    values = rows("loss", {"a": [[2.0, 2.2]]})
    errors = rows("loss_se", {"a": [[0.1, 0.1]]})
    found = chains(pandas.concat([values, errors]))
    assert np.isnan(only(found).onset) and only(found).noise == pytest.approx(0.2 * np.sqrt(2))


def test_a_chain_whose_errors_grow_later_is_not_held_to_be_noisy_before():
    values, errors = [1.0, 1.2, 2.0, 3.0], [0.01, 0.01, 0.3, 0.5]
    one = only(chains(pandas.concat([rows("loss", {"a": [values]}), rows("loss_se", {"a": [errors]})])))
    assert one.onset == 1 and one.noise == pytest.approx(2 * np.sqrt(0.5**2 + 0.01**2))


def test_the_interval_is_the_bootstrap_and_of_few_chains_the_range():
    assert interval(np.array([3.0, 1.0])) == (1, 3)
    values = np.random.default_rng(0).standard_exponential(12)
    expected = scipy.stats.bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(1)).confidence_interval
    assert interval(values) == pytest.approx((expected.low, expected.high), abs=0.05)
    assert interval(values) == interval(values)


def test_the_interval_holds_the_mean_about_as_often_as_it_says():
    rng = np.random.default_rng(0)
    held = [low <= 0 <= high for low, high in (interval(rng.standard_normal(20)) for _ in range(400))]
    assert 0.89 < np.mean(held) < 0.97  # the percentile bootstrap of 20 values is a little too narrow


def test_policies_are_compared_seed_by_seed():
    """Seeds differ by far more than policies do: only the paired difference shows it."""
    table = rows("loss", {"replace": [[1.0, 2.0], [51.0, 52.2]], "real": [[1.0, 1.0], [51.0, 51.0]]})
    found = policies(chains(table), controls={"g": "real"}).set_index("policy")
    replace = found.loc["replace"]
    assert replace.apart == pytest.approx(1.1) and (replace.apart_low, replace.apart_high) == (pytest.approx(1.0), pytest.approx(1.2))
    assert replace["last"] == pytest.approx(27.1) and replace.onsets == 2 and found.loc["real"].onsets == 0
    assert np.isnan(policies(chains(table), controls={}).apart).all()


def test_the_control_is_known_by_what_was_trained_on():
    shares = rows("real_share", {"replace": [[1.0, 0.0]], "mix": [[1.0, 0.5]], "always": [[1.0, 1.0]]}, axis="mixture")
    assert control(shares) == {"g": "always"}
    assert control(shares[shares.policy != "always"]) == {}


def test_what_refitting_on_real_data_does_is_noise():
    """The floors say nothing of it: they are one model's."""
    loss = {"real": [[1.0, 1.3, 0.6], [1.0, 1.0, 1.5]], "replace": [[1.0, 1.2, 1.5], [1.0, 1.5, 2.0]]}
    shares = rows("real_share", {"real": [[1.0, 1.0]], "replace": [[1.0, 0.0]]}, axis="mixture")
    found = chains(pandas.concat([rows("loss", loss), shares]))
    assert found.noise.unique() == pytest.approx([2 * np.sqrt((0.3**2 + 0.4**2 + 0 + 0.5**2) / 4)])
    assert found[found.policy == "replace"].onset.tolist()[1] == 2
    assert found[found.policy == "real"].onset.isna().all()


FLAT, UP, LEVEL, DOWN, GONE = (
    [1.0, 1.0, 1.0, 1.0, 1.0],
    [1.0, 2.0, 3.0, 4.0, 5.0],
    [1.0, 3.0, 4.0, 4.1, 4.1],
    [1.0, 0.9, 0.8, 0.7, 0.6],
    [1.0, 0.6, 0.3, 0.2, 0.1],
)


@pytest.mark.parametrize(
    ("definition", "metric", "axis", "better", "yes", "no"),
    [
        ("any growth of risk", "loss", "likelihood", False, LEVEL, FLAT),
        ("any growth of risk", "distance", "fidelity", False, UP, DOWN),
        ("risk without a bound", "loss", "likelihood", False, UP, LEVEL),
        ("variance to zero", "variety", "diversity", True, GONE, DOWN),
        ("tail loss", "rare", "tail", True, DOWN, FLAT),
        ("mode loss", "coverage", "tail", True, DOWN, UP),
    ],
)
def test_every_definition_is_met_by_chains_that_meet_it_and_not_by_others(definition, metric, axis, better, yes, no):
    found = chains(rows(metric, {"yes": [yes, yes], "no": [no, no], "either": [yes, no]}, axis=axis, better=better, floor_sd=0.01))
    said = {one["policy"]: one for one in verdicts(found, generations=4) if one["definition"] == definition}
    assert (said["yes"]["verdict"], said["no"]["verdict"], said["either"]["verdict"]) == ("yes", "no", "in part")
    assert said["either"]["shares"] == {metric: 0.5}


def test_what_cannot_be_told_is_not_told():
    found = chains(rows("loss", {"a": [[1.0, 2.0, 3.0]]}))
    said = {one["definition"]: one["verdict"] for one in verdicts(found, generations=2)}
    assert said["any growth of risk"] == "yes"
    assert said["risk without a bound"] == said["tail loss"] == said["another scaling law"] == "not told"
    assert set(said) == {definition.name for definition in DEFINITIONS}
