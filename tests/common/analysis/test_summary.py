"""Summaries of chains and policies against numbers computed by hand."""

from __future__ import annotations

import numpy as np
import pandas
import pytest
import scipy.stats
from autophagy.common.analysis.series import metric_series
from autophagy.common.analysis.summary import (
    find_controls,
    interval,
    summarize_chains,
    summarize_policies,
)
from support.result_rows import as_columns, metric_rows


def summarize(*rows):
    """The chain summaries of the concatenated rows."""
    return summarize_chains(metric_series(as_columns(*rows)))


def only(summaries):
    assert len(summaries) == 1
    return summaries[0]


def test_chain_summary_equals_numbers_computed_by_hand():
    one = only(summarize(metric_rows("loss", {"a": [[2.0, 2.1, 3.0, 5.0, 6.0]]}, floor_sd=0.1)))
    assert (one.first, one.last, one.ratio, one.worse) == (2, 6, 3, 4)
    assert one.noise == pytest.approx(2 * np.sqrt(2) * 0.1)
    assert one.onset == 2, "a difference of 0.1 is noise, a difference of 1 is not"
    assert one.half_life == pytest.approx(2.5), "4 is half-way between 3 and 5"
    assert one.slope == pytest.approx(np.polyfit(range(5), [2.0, 2.1, 3.0, 5.0, 6.0], 1)[0])
    assert (one.early, one.late) == (pytest.approx(0.5), pytest.approx(1.5))


def test_a_fall_is_worse_if_higher_is_better():
    one = only(summarize(metric_rows("recall", {"a": [[0.8, 0.6, 0.2]]}, axis="diversity", better=True)))
    assert one.worse == pytest.approx(0.6) and one.half_life == pytest.approx(1.5) and one.onset == 1


def test_onset_is_permanent_and_relative_to_the_worse_of_floor_and_generation_0():
    assert np.isnan(only(summarize(metric_rows("loss", {"a": [[2.0, 9.0, 2.0]]}))).onset), "it returned to generation 0"
    assert only(summarize(metric_rows("loss", {"a": [[2.0, 9.0, 2.0, 3.0]]}))).onset == 3
    assert only(summarize(metric_rows("loss", {"a": [[2.0, 2.5, 4.0]]}, floor=3.0))).onset == 2, "generation 0 was better than the floor"


def test_standard_error_of_a_metric_counts_as_noise():
    one = only(summarize(metric_rows("loss", {"a": [[2.0, 2.2]]}), metric_rows("loss_se", {"a": [[0.1, 0.1]]})))
    assert np.isnan(one.onset) and one.noise == pytest.approx(0.2 * np.sqrt(2))


def test_later_standard_errors_do_not_add_noise_to_earlier_generations():
    values, errors = [1.0, 1.2, 2.0, 3.0], [0.01, 0.01, 0.3, 0.5]
    one = only(summarize(metric_rows("loss", {"a": [values]}), metric_rows("loss_se", {"a": [errors]})))
    assert one.onset == 1 and one.noise == pytest.approx(2 * np.sqrt(0.5**2 + 0.01**2))


def test_families_costs_and_standard_errors_have_no_summary():
    rows = [
        metric_rows("share/1", {"a": [[1.0, 2.0]]}),
        metric_rows("loss_se", {"a": [[1.0, 2.0]]}),
        metric_rows("steps", {"a": [[1.0, 2.0]]}, axis="cost"),
        metric_rows("depth", {"a": [[1.0, 2.0]]}, axis="mixture"),
    ]
    assert summarize(*rows) == []


def test_rows_may_come_in_any_order_of_generations():
    rows = metric_rows("loss", {"a": [[1.0, 2.0, 4.0]], "b": [[1.0, 1.5, 3.0]]})
    assert summarize(rows[::-1]) == summarize(rows)[::-1]


def test_interval_is_the_bootstrap_or_the_range_of_few_chains():
    assert interval(np.array([3.0, 1.0])) == (1, 3)
    values = np.random.default_rng(0).standard_exponential(12)
    expected = scipy.stats.bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(1)).confidence_interval
    assert interval(values) == pytest.approx((expected.low, expected.high), abs=0.05)
    assert interval(values) == interval(values)


def test_interval_contains_the_mean_at_about_its_nominal_rate():
    rng = np.random.default_rng(0)
    contained = [low <= 0 <= high for low, high in (interval(rng.standard_normal(20)) for _ in range(400))]
    assert 0.89 < np.mean(contained) < 0.97  # the percentile bootstrap of 20 values is slightly too narrow


def test_policies_are_compared_with_the_control_seed_by_seed():
    """Seeds differ by far more than policies do: only the paired difference shows the effect."""
    chains = summarize(metric_rows("loss", {"replace": [[1.0, 2.0], [51.0, 52.2]], "real": [[1.0, 1.0], [51.0, 51.0]]}))
    replace, real = summarize_policies(chains, controls={"g": "real"})
    difference = replace.from_control
    assert (difference.mean, difference.low, difference.high) == (pytest.approx(1.1), pytest.approx(1.0), pytest.approx(1.2))
    assert replace.last.mean == pytest.approx(27.1) and replace.onsets == 2 and real.onsets == 0
    assert replace.all_beyond_noise and not real.all_beyond_noise
    assert all(np.isnan(one.from_control.mean) for one in summarize_policies(chains, controls={}))


def test_control_is_the_policy_trained_on_real_rows_alone():
    shares = {"replace": [[1.0, 0.0]], "mix": [[1.0, 0.5]], "always": [[1.0, 1.0]], "later": [[1.0, 1.0]]}
    assert find_controls(metric_series(as_columns(metric_rows("real_share", shares, axis="mixture")))) == {"g": "always"}
    without = {policy: chains for policy, chains in shares.items() if policy in ("replace", "mix")}
    assert find_controls(metric_series(as_columns(metric_rows("real_share", without, axis="mixture")))) == {}
    assert find_controls({}) == {}


def test_changes_in_the_control_count_as_noise():
    """Floors do not contain the noise of retraining: they are computed with a single model."""
    loss = {"real": [[1.0, 1.3, 0.6], [1.0, 1.0, 1.5]], "replace": [[1.0, 1.2, 1.5], [1.0, 1.5, 2.0]]}
    shares = metric_rows("real_share", {"real": [[1.0, 1.0]], "replace": [[1.0, 0.0]]}, axis="mixture")
    chains = summarize(metric_rows("loss", loss), shares)
    assert [one.noise for one in chains] == pytest.approx([2 * np.sqrt((0.3**2 + 0.4**2 + 0 + 0.5**2) / 4)] * 4)
    assert [one.onset for one in chains if one.policy == "replace"][1] == 2
    assert all(np.isnan(one.onset) for one in chains if one.policy == "real")


def test_summaries_become_data_frames():
    chains = summarize(metric_rows("loss", {"a": [[1.0, 2.0]], "b": [[1.0, 3.0]]}))
    frame = pandas.DataFrame(chains)
    assert frame.policy.tolist() == ["a", "b"] and frame.worse.tolist() == [1, 2]
    rows = pandas.DataFrame(metric_rows("loss", {"a": [[1.0, 2.0]], "b": [[1.0, 3.0]]}))
    assert summarize_chains(metric_series(rows.to_dict("list"))) == chains
