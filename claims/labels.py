"""Claims that a regression or a classifier settles: models that label points and learn from those labels."""

from __future__ import annotations

import numpy as np

from ..analytic import laws
from ..common.replication.claim import Claim, Curve, Figure, JudgeOutput, Rows, curve, law_curve, over_generations
from ..common.replication.statistical_checks import above, at, below, equals, follows
from .gaussian import STANDARD_ERRORS

T, D = 40, 5
REGRESSION = {"regression": ["regression.yaml"]}
GROWING = {"regression-growing": ["regression.yaml", "prompts=none", "policies=[replace-growing]", "data.worlds=2000"]}


def _risk(policy: str):
    return lambda g: laws.regression_risk(g, size=T, dimensions=D, policy=policy)


def risk_grows_linearly(rows: Rows) -> JudgeOutput:
    own, checks, curves = rows["regression"], [], []
    other = {"replace": "accumulate", "accumulate": "replace"}
    for policy in other:
        checks += follows(
            f"{policy}: excess risk", own, "excess_risk", policy, _risk(policy), at_generations=(0, 1, 3, 7), rival=_risk(other[policy])
        )
        curves += [law_curve(f"law: {policy}", _risk(policy), 7), over_generations(f"measured: {policy}", own, "excess_risk", policy)]
    return JudgeOutput(checks, Figure("generation", "excess risk", curves))


def more_labels_slow_it(rows: Rows) -> JudgeOutput:
    own = rows["regression-growing"]
    checks = follows(
        "excess risk", own, "excess_risk", "replace-growing", _risk("replace-growing"), at_generations=(0, 1, 3, 7), rival=_risk("replace")
    )
    checks.append(
        above(
            "excess risk gained from generation 3 to 7",
            at(own, "excess_risk", "replace-growing", 7) - at(own, "excess_risk", "replace-growing", 3),
        )
    )
    curves = [
        law_curve("law: i T rows", _risk("replace-growing"), 7),
        over_generations("measured: i T rows", own, "excess_risk", "replace-growing"),
    ]
    curves += [law_curve(f"law: {policy}", _risk(policy), 7) for policy in ("replace", "accumulate")]
    return JudgeOutput(checks, Figure("generation", "excess risk", curves))


SIZES = {500: 200, 2000: 100, 8000: 40, 32000: 20}
SHIFTED = {
    f"regression-shifted-{size}": ["regression-shifted.yaml", f"size={size}", f"data.rows={size}", f"data.worlds={worlds}"]
    for size, worlds in SIZES.items()
}
SHIFT = {"dimensions": 10, "noise": 1.0, "shifted": 0.1, "shift": 1.0}


def shifted_share_is_a_floor(rows: Rows) -> JudgeOutput:
    found = {size: at(rows[f"regression-shifted-{size}"], "excess_risk", "real", 0) for size in SIZES}
    law = {size: laws.shifted_risk(size=size, **SHIFT) for size in SIZES}
    clean = {size: laws.shifted_risk(size=size, **{**SHIFT, "shifted": 0.0}) for size in SIZES}
    checks = [equals(f"excess risk with {size:,} rows", found[size], law[size], rival=clean[size]) for size in reversed(SIZES)]
    checks.append(
        above("excess risk with 32,000 rows, over the floor's half", found[32000], 0.5 * (SHIFT["shifted"] * SHIFT["shift"]) ** 2)
    )
    grid = np.geomspace(400, 40000, 40)
    picture = Figure(
        "rows",
        "excess risk",
        [
            Curve("law: a tenth shifted", grid.tolist(), [laws.shifted_risk(size=size, **SHIFT) for size in grid], law=True),
            Curve(
                "law: none shifted", grid.tolist(), [laws.shifted_risk(size=size, **{**SHIFT, "shifted": 0.0}) for size in grid], law=True
            ),
            curve("measured: a tenth shifted", list(SIZES), list(found.values())),
        ],
        log_x=True,
        log_y=True,
    )
    return JudgeOutput(checks, picture)


VERIFIERS = {"sharp": (0.8, 0.4), "blind": (0.6, 0.6), "contrary": (0.4, 0.8)}
"""The chances phi and psi that a right and a wrong label are kept."""
FLIPS = (0.25, 0.4, 0.45, 0.55, 0.6, 0.75)
VERIFIED = {f"verifier-{flip:g}": ["verifier.yaml", f"generator.sampling.flip={flip}"] for flip in FLIPS}


def verifier_has_a_threshold(rows: Rows) -> JudgeOutput:
    checks, curves = [], []
    for name, (right, wrong) in VERIFIERS.items():
        threshold = laws.verifier_threshold(keep_right=right, keep_wrong=wrong)
        found = {flip: at(rows[f"verifier-{flip:g}"], "plane_accuracy", name, 1) for flip in FLIPS}
        for flip in FLIPS:
            held = above if flip < threshold else below
            checks.append(held(f"psi/phi {wrong / right:g}, {flip:.0%} wrong (threshold {threshold:.0%}): accuracy", found[flip], 0.5))
        curves.append(curve(f"psi/phi {wrong / right:g}, threshold {threshold:.2g}", list(FLIPS), list(found.values())))
    curves.append(Curve("chance", [min(FLIPS), max(FLIPS)], [0.5, 0.5], law=True))
    return JudgeOutput(checks, Figure("share of wrong labels", "accuracy on the truth", curves))


CLAIMS = (
    Claim(
        id="C10",
        says=(
            "The risk of a regression on its own labels grows linearly under replacement and stays below pi^2/6 of one "
            "fit's under accumulation."
        ),
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
        says=("More synthetic data in every generation slows replacement, but does not save it: the risk grows like a logarithm."),
        source="Gerstgrasser et al. 2024, footnote 1",
        cost="seconds",
        experiments=GROWING,
        observable="excess risk of the n-th fit, with i T rows at the i-th",
        expects="sum sigma^2 d / (i T - d - 1), about b ln n",
        tolerance=STANDARD_ERRORS,
        judge=more_labels_slow_it,
    ),
    Claim(
        id="C17",
        says="A fixed share of shifted data sets a floor that more data does not lower.",
        source="Dohmatob et al. 2024 (strong model collapse)",
        cost="seconds",
        experiments=SHIFTED,
        observable="excess risk of least squares with a tenth of the labels shifted",
        expects="sigma^2 d/n + p^2 c^2 + p (1-p) c^2 (d+2)/n",
        tolerance=STANDARD_ERRORS + "; the law leaves out terms of order (d/n)^2",
        judge=shifted_share_is_a_floor,
    ),
    Claim(
        id="C18",
        says="An imperfect verifier makes wrong synthetic labels useful exactly if their share is below 1/(1 + psi/phi).",
        source="Feng et al. 2024",
        cost="seconds",
        experiments=VERIFIED,
        observable="accuracy, on the truth, of a classifier that learned from the labels that were kept",
        expects="above 1/2 below the threshold, below 1/2 above it",
        tolerance="clear of 1/2 by 95 %, over 5 seeds",
        judge=verifier_has_a_threshold,
    ),
)
