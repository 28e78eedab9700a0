"""The audit is double entry: what a policy says, what it took and what the optimizer saw must agree."""

from __future__ import annotations

import numpy as np
import pytest
from autophagy import UserError, experiment, run
from autophagy.common.components.generator import FitResult
from autophagy.common.components.policies import Mix, Replace
from autophagy.common.core.pool import REAL, Pool
from autophagy.common.loop.audit import check_mixture
from support.tiny import ANALYTIC

WIDE = {**ANALYTIC, "data": {"use": "gaussian", "rows": 60, "replicates": 2}}


def pool(real: int, generated: int) -> Pool:
    collected = np.repeat([REAL, 1], [real, generated])
    return Pool.of(x=np.arange(real + generated)).note(generation=collected, collected=collected, depth=0.0, source="x")


def test_one_row_more_is_let_pass_and_two_are_not():
    for real, fine in [(30, True), (31, True), (32, False), (28, False)]:
        train = pool(real, 100 - real)
        check = lambda train=train: check_mixture(train, FitResult.closed_form("rows", 100), Mix(0.3), size=100, generation=2)  # noqa: E731
        if fine:
            check()
        else:
            with pytest.raises(UserError, match=f"audit: ({real}|{100 - real}) rows of .* were trained on, the policy says it takes"):
                check()


def test_rows_that_the_optimizer_never_saw_are_noticed():
    """A loader that drops the last batch, a fit that stops at half the pool: the mixture consumed is not the mixture asked for."""
    seen = np.repeat([2, 1], [50, 50])
    with pytest.raises(UserError, match=r"audit: 100 rows x epochs of real data were trained on, the mixture asks for 75"):
        check_mixture(pool(50, 50), FitResult("rows", seen, np.ones(100), 3), Mix(0.5), size=100, generation=2)


def test_another_pool_than_asked_for_is_noticed():
    with pytest.raises(UserError, match="100 rows of generation 1's pool were trained on, the policy says it takes 0"):
        check_mixture(pool(0, 100), FitResult.closed_form("rows", 100), Replace(), size=100, generation=3)


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ("support.faulty_policies:LeaksReal", r"tiny-gaussian, leaky, seed 0, generation 1: audit: 2 rows of real data were trained on"),
        ("support.faulty_policies:InventsRows", r"the policy gave rows without the note _collected"),
    ],
)
def test_a_policy_that_does_not_do_what_it_says_stops_the_run(policy, said, tmp_path):
    with pytest.raises(UserError, match=said):
        run(experiment({**WIDE, "policies": {"leaky": policy}}), store=tmp_path)


def test_contaminated_pools_are_counted_by_birth_and_by_source(tmp_path):
    wanted = experiment({**WIDE, "policies": {"half": {"use": "replace", "synthetic_fraction": 0.5}}})
    rows = run(wanted, store=tmp_path)
    last = rows[rows.generation == 3].set_index("metric").value
    assert last["trained_rows/real"] == last["trained_rows/generation 2"] == 5
    assert last["source_share/real"] == last["source_share/gaussian"] == 0.5
    depths = rows[rows.metric == "depth"].value.tolist()
    assert depths == [0, 0.5, 0.75, 0.875], "half of each pool is real: d = (1 + d) / 2"


def test_controls_auto_adds_matched_arms_once(tmp_path):
    wanted = experiment({**WIDE, "policies": ["replace", "accumulate", {"use": "window"}][:2], "controls": "auto"})
    assert set(wanted.arms) == {"replace", "accumulate", "real", "replace-growing", "real-growing"}
    windows = {"w2": {"use": "window", "generations": 2}, "w3": {"use": "window", "generations": 3}, "real": None}
    both = experiment({**WIDE, "policies": windows, "controls": "auto"})
    assert [arm.policy.settings["generations"] for name, arm in both.arms.items() if "growing" in name] == [2, 2, 3, 3]
    rows = run(both, store=tmp_path)
    trained = rows[rows.metric == "rows_seen"].set_index(["policy", "generation"]).value
    for name, size in (("w2", 20), ("w3", 30)):
        matched = {trained[arm, 3] for arm in both.arms if arm == name or arm.endswith(f"-for-{name}")}
        assert matched == {size}, "the controls train on as many rows"
