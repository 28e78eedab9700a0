"""Claims about models that learn from labels made by earlier models, tested with a regression and a linear classifier."""

from __future__ import annotations

from functools import partial

import numpy as np

from ..analytic import laws
from ..common.replication.claim import (
    Claim,
    JudgeOutput,
    Rows,
    generation_figure,
    law_and_measured,
    law_curve,
    law_points,
    measured_curve,
)
from ..common.replication.schema import Figure
from ..common.replication.statistical_checks import (
    check_above,
    check_below,
    check_equals,
    check_law_at_generations,
    estimate_at,
)
from .gaussian import STANDARD_ERRORS

# ---- C10, C11: regression on its own labels ----------------------------------------------------------------------------------

ROWS, DIMENSIONS, LAST = 40, 5, 7
REGRESSION = {"regression": ["regression.yaml"]}
GROWING = {"regression-growing": ["regression.yaml", "prompts=none", "policies=[replace-growing]", "data.replicates=2000"]}
RISK = {
    policy: partial(laws.regression_risk, size=ROWS, dimensions=DIMENSIONS, policy=policy)
    for policy in ("replace", "accumulate", "replace-growing")
}
"""Laws of the expected excess risk by generation, for each policy."""
check_risk = partial(check_law_at_generations, metric="excess_risk", generations=(0, 1, 3, LAST))


def risk_grows_linearly(rows: Rows) -> JudgeOutput:
    own, checks, curves = rows["regression"], [], []
    for policy, other in (("replace", "accumulate"), ("accumulate", "replace")):
        checks += check_risk(f"{policy}: excess risk", own, policy=policy, law=RISK[policy], alternative=RISK[other])
        curves += law_and_measured(policy, own, "excess_risk", policy, RISK[policy], generations=LAST)
    return JudgeOutput(checks, generation_figure("excess risk", curves))


def more_labels_slow_it(rows: Rows) -> JudgeOutput:
    own, growing = rows["regression-growing"], "replace-growing"
    gain = estimate_at(own, "excess_risk", growing, LAST) - estimate_at(own, "excess_risk", growing, 3)
    checks = [
        *check_risk("excess risk", own, policy=growing, law=RISK[growing], alternative=RISK["replace"]),
        check_above(f"excess risk gained from generation 3 to {LAST}", gain),
    ]
    curves = [
        *law_and_measured("i T rows", own, "excess_risk", growing, RISK[growing], generations=LAST),
        *(law_curve(f"law: {policy}", RISK[policy], LAST) for policy in ("replace", "accumulate")),
    ]
    return JudgeOutput(checks, generation_figure("excess risk", curves))


# ---- C17: shifted labels -------------------------------------------------------------------------------------------------------

REPLICATES_BY_SIZE = {500: 200, 2000: 100, 8000: 40, 32000: 20}
SHIFTED = {
    f"regression-shifted-{size}": ["regression-shifted.yaml", f"size={size}", f"data.rows={size}", f"data.replicates={count}"]
    for size, count in REPLICATES_BY_SIZE.items()
}
SHIFTED_SHARE, SHIFT = 0.1, 1.0


def _shifted_risk(size: int, *, shifted: float = SHIFTED_SHARE) -> float:
    return laws.shifted_risk(size=size, dimensions=10, noise=1.0, shifted=shifted, shift=SHIFT)


def shifted_share_is_a_floor(rows: Rows) -> JudgeOutput:
    risk = {size: estimate_at(rows[f"regression-shifted-{size}"], "excess_risk", "real", 0) for size in REPLICATES_BY_SIZE}
    largest = max(REPLICATES_BY_SIZE)
    checks = [
        check_equals(f"excess risk with {size:,} rows", risk[size], _shifted_risk(size), alternative=_shifted_risk(size, shifted=0.0))
        for size in sorted(REPLICATES_BY_SIZE, reverse=True)
    ]
    checks.append(
        check_above(f"excess risk with {largest:,} rows, above half of the floor", risk[largest], 0.5 * (SHIFTED_SHARE * SHIFT) ** 2)
    )
    grid = np.geomspace(400, 40000, 40).tolist()
    curves = [
        law_points("law: a tenth shifted", grid, _shifted_risk),
        law_points("law: none shifted", grid, partial(_shifted_risk, shifted=0.0)),
        measured_curve("measured: a tenth shifted", list(risk), list(risk.values())),
    ]
    return JudgeOutput(checks, Figure(x="rows", y="excess risk", curves=curves, log_x=True, log_y=True))


# ---- C18: an imperfect verifier ------------------------------------------------------------------------------------------------

VERIFIERS = {"sharp": (0.8, 0.4), "blind": (0.6, 0.6), "contrary": (0.4, 0.8)}
"""Verifiers by policy name: probabilities phi and psi of keeping a right and a wrong label."""
WRONG_SHARES = (0.25, 0.4, 0.45, 0.55, 0.6, 0.75)
VERIFIED = {f"verifier-{share:g}": ["verifier.yaml", f"generator.sampling.flip={share}"] for share in WRONG_SHARES}


def verifier_has_a_threshold(rows: Rows) -> JudgeOutput:
    checks, curves = [], []
    for policy, (right, wrong) in VERIFIERS.items():
        threshold, ratio = laws.verifier_threshold(keep_right=right, keep_wrong=wrong), f"psi/phi {wrong / right:g}"
        accuracy = {share: estimate_at(rows[f"verifier-{share:g}"], "plane_accuracy", policy, 1) for share in WRONG_SHARES}
        for share, estimate in accuracy.items():
            check = check_above if share < threshold else check_below
            checks.append(check(f"{ratio}, {share:.0%} wrong (threshold {threshold:.0%}): accuracy", estimate, 0.5))
        curves.append(measured_curve(f"{ratio}, threshold {threshold:.2g}", list(accuracy), list(accuracy.values())))
    curves.append(law_points("chance", (min(WRONG_SHARES), max(WRONG_SHARES)), lambda share: 0.5))
    return JudgeOutput(checks, Figure(x="share of wrong labels", y="accuracy on the true labels", curves=curves))


# ---- claims ----------------------------------------------------------------------------------------------------------------

CLAIMS = (
    Claim(
        id="C10",
        statement="The risk of a regression on its own labels grows linearly under replacement and stays below pi^2/6 times that of "
        "one fit under accumulation.",
        source="Dohmatob et al. 2024; Gerstgrasser et al. 2024, theorem 1",
        cost="seconds",
        experiments=REGRESSION,
        observable="excess risk of the n-th fit",
        expects="n b and b sum 1/i^2, b = sigma^2 d / (T - d - 1)",
        tolerance=STANDARD_ERRORS,
        judge=risk_grows_linearly,
    ),
    Claim(
        id="C11",
        statement="More synthetic data in every generation slows the collapse under replacement but does not prevent it: the risk grows "
        "logarithmically.",
        source="Gerstgrasser et al. 2024, footnote 1",
        cost="seconds",
        experiments=GROWING,
        observable="excess risk of the n-th fit; the i-th fit has i T rows",
        expects="sum sigma^2 d / (i T - d - 1), about b ln n",
        tolerance=STANDARD_ERRORS,
        judge=more_labels_slow_it,
    ),
    Claim(
        id="C17",
        statement="A fixed share of shifted data sets a floor of the risk that more data does not lower.",
        source="Dohmatob et al. 2024 (strong model collapse)",
        cost="seconds",
        experiments=SHIFTED,
        observable="excess risk of least squares with a tenth of the labels shifted",
        expects="sigma^2 d/n + p^2 c^2 + p (1-p) c^2 (d+2)/n",
        tolerance=STANDARD_ERRORS + "; the law omits terms of order (d/n)^2",
        judge=shifted_share_is_a_floor,
    ),
    Claim(
        id="C18",
        statement="An imperfect verifier makes noisy synthetic labels useful exactly if the share of wrong labels is below 1/(1 "
        "+ psi/phi).",
        source="Feng et al. 2024",
        cost="seconds",
        experiments=VERIFIED,
        observable="accuracy, on the true labels, of a classifier that is trained on the labels kept by the verifier",
        expects="accuracy above 1/2 if the share of wrong labels is below the threshold; accuracy below 1/2 if it is above",
        tolerance="95 % interval over 5 seeds excludes 1/2",
        judge=verifier_has_a_threshold,
    ),
)
