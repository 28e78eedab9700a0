"""The audit compares what a policy declares, which rows it picked, and which rows the fit used. Differences stop the run."""

from __future__ import annotations

import re

import numpy as np
import pytest
from autophagy import UserError, experiment, run
from autophagy.common.components.generator import FitResult
from autophagy.common.components.policies import Mix, Replace
from autophagy.common.core.pool import REAL, Pool
from autophagy.common.loop.audit import check_mixture
from support.tiny import ANALYTIC

MORE_ROWS = {**ANALYTIC, "data": {"use": "gaussian", "rows": 60, "replicates": 2}}
ALLOWED = r"Allowed difference: 0\.1% of the training rows, at least one row"


def training_pool(real: int, generated: int) -> Pool:
    """`real` rows of the real pool, then `generated` rows of generation 1's pool."""
    collected = np.repeat([REAL, 1], [real, generated])
    return Pool.of(x=np.arange(real + generated)).note(generation=collected, collected=collected, depth=0.0, source="x")


@pytest.mark.parametrize("real", [29, 30, 31])
def test_difference_of_one_row_is_accepted(real):
    train = training_pool(real, 100 - real)
    check_mixture(train, FitResult.closed_form("rows", 100), Mix(0.3), name="mix", size=100, generation=2)


@pytest.mark.parametrize("real", [28, 32])
def test_difference_of_two_rows_is_rejected(real):
    train = training_pool(real, 100 - real)
    message = rf"^audit: policy 'mix' declares 30 rows of real data but picked {real}\. {ALLOWED}$"
    with pytest.raises(UserError, match=message):
        check_mixture(train, FitResult.closed_form("rows", 100), Mix(0.3), name="mix", size=100, generation=2)


def test_rows_that_the_fit_skips_are_noticed():
    """A loader that drops the last batch, for example: the policy picked the right rows, but the fit used them unequally."""
    visits = np.repeat([2, 1], [50, 50])
    message = rf"^audit: policy 'half' specifies 75 rows of real data \(repeats counted\); the fit used 100\. {ALLOWED}$"
    with pytest.raises(UserError, match=message):
        check_mixture(training_pool(50, 50), FitResult("rows", visits, np.ones(100), 3), Mix(0.5), name="half", size=100, generation=2)


def test_rows_of_another_pool_are_noticed():
    message = rf"^audit: policy 'latest' declares 0 rows of generation 1's pool but picked 100\. {ALLOWED}$"
    with pytest.raises(UserError, match=message):
        check_mixture(training_pool(0, 100), FitResult.closed_form("rows", 100), Replace(), name="latest", size=100, generation=3)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        ("LeaksReal", "audit: policy 'faulty' declares 0 rows of real data but picked 2. Allowed difference: "),
        (
            "InventsRows",
            "policy 'faulty' returned rows without the column _collected; "
            "a policy must return rows of the pools that it receives, with all their columns",
        ),
    ],
)
def test_policy_that_breaks_its_declaration_stops_the_run(policy, message, tmp_path):
    faulty = experiment({**MORE_ROWS, "policies": {"faulty": f"support.faulty_policies:{policy}"}})
    with pytest.raises(UserError, match=f"^tiny-gaussian, faulty, seed 0, generation 1: {re.escape(message)}"):
        run(faulty, store=tmp_path)


def test_mixed_pools_are_counted_by_generation_and_source(tmp_path):
    half = experiment({**MORE_ROWS, "policies": {"half": {"use": "replace", "synthetic_fraction": 0.5}}})
    rows = run(half, store=tmp_path)
    last = rows[rows.generation == 3].set_index("metric").value
    assert last["trained_rows/real"] == last["trained_rows/generation 2"] == 5
    assert last["source_share/real"] == last["source_share/gaussian"] == 0.5
    depths = rows[rows.metric == "depth"].value.tolist()
    assert depths == [0, 0.5, 0.75, 0.875], "half of each pool is real, so the depth d follows d = (1 + d) / 2"


def test_automatic_controls_match_arms_in_training_rows(tmp_path):
    controlled = experiment({**MORE_ROWS, "policies": ["replace", "accumulate"], "controls": "auto"})
    assert set(controlled.arms) == {"replace", "accumulate", "real", "replace-growing", "real-growing"}
    windows = {"w2": {"use": "window", "generations": 2}, "w3": {"use": "window", "generations": 3}, "real": None}
    two_windows = experiment({**MORE_ROWS, "policies": windows, "controls": "auto"})
    assert [arm.policy.settings["generations"] for name, arm in two_windows.arms.items() if "growing" in name] == [2, 2, 3, 3]
    rows = run(two_windows, store=tmp_path)
    trained = rows[rows.metric == "rows_seen"].set_index(["policy", "generation"]).value
    for name, size in (("w2", 20), ("w3", 30)):
        matched = {trained[arm, 3] for arm in two_windows.arms if arm == name or arm.endswith(f"-for-{name}")}
        assert matched == {size}, "the controls train on as many rows as the arm"
