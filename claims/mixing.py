"""Claims about mixtures of real and generated rows: fresh or fixed real rows, their number and their best weight."""

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
from ..common.replication.schema import Contradiction, Curve, Figure
from ..common.replication.statistical_checks import (
    Estimate,
    check_above,
    check_below,
    check_equals,
    check_law_at_generations,
    estimate_at,
)
from .gaussian import STANDARD_ERRORS

# ---- C6 to C8: a share of real rows ------------------------------------------------------------------------------------------

MIX = {"gaussian-mix": ["gaussian-mix.yaml"]}
SIZE, LAST = 100, 32
REAL_SHARES = {"5": 0.05, "10": 0.1, "25": 0.25}
MIX_LAWS = {"fresh": laws.mix_fresh, "fixed": laws.mix_fixed}
"""Laws by kind of real rows. Each returns the pair (variance, squared error of the mean)."""
check_mix = partial(check_law_at_generations, generations=(1, 3, 10, LAST))


def _variance(generation: int, *, real_fraction: float | list[float]) -> float:
    return laws.mix_fresh(generation, size=SIZE, real_fraction=real_fraction)[0]


def _mean_error(generation: int, *, real_fraction: float, real: str = "fresh") -> float:
    return MIX_LAWS[real](generation, size=SIZE, real_fraction=real_fraction)[1]


def real_rows_hold_a_level(rows: Rows) -> JudgeOutput:
    own, checks, curves = rows["gaussian-mix"], [], []
    no_real = partial(laws.replace_variance, size=SIZE)
    no_real_error = partial(laws.replace_mean_squared_error, size=SIZE)
    for name, share in REAL_SHARES.items():
        policy, label = f"fresh-{name}", f"{share:.0%} real"
        variance, error = partial(_variance, real_fraction=share), partial(_mean_error, real_fraction=share)
        checks += check_mix(f"{label}: E s^2", own, "variance", policy, variance, alternative=no_real)
        checks += check_mix(f"{label}: Var mu", own, "mean_squared_error", policy, error, alternative=no_real_error)
        curves += law_and_measured(label, own, "variance", policy, variance, generations=LAST)
    curves.append(law_curve("law: no real rows", no_real, LAST))
    return JudgeOutput(checks, generation_figure("variance", curves))


def fresh_beats_fixed(rows: Rows) -> JudgeOutput:
    own, checks, curves = rows["gaussian-mix"], [], []
    for name in ("10", "25"):
        share = REAL_SHARES[name]
        fixed, fresh = (estimate_at(own, "mean_squared_error", f"{real}-{name}", LAST) for real in ("fixed", "fresh"))
        label = f"{share:.0%} real: Var mu, fixed / fresh, generation {LAST}"
        checks.append(check_equals(label, fixed / fresh, 3 - 2 * share, alternative=1.0))
        fixed_error = partial(_mean_error, real_fraction=share, real="fixed")
        checks += check_mix(f"{share:.0%} fixed: Var mu", own, "mean_squared_error", f"fixed-{name}", fixed_error)
        for real in ("fixed", "fresh"):
            error = partial(_mean_error, real_fraction=share, real=real)
            curves += law_and_measured(f"{share:.0%} {real}", own, "mean_squared_error", f"{real}-{name}", error, generations=LAST)
    return JudgeOutput(checks, generation_figure("squared error of the mean", curves))


def start_is_forgotten(rows: Rows) -> JudgeOutput:
    own, start = rows["gaussian-mix"], 10
    bad_start = partial(_variance, real_fraction=[0.0] * start + [0.1])
    good_start = partial(_variance, real_fraction=0.1)
    first, last = (
        estimate_at(own, "variance", "fresh-10", generation) - estimate_at(own, "variance", "late-10", generation)
        for generation in (start, LAST)
    )
    expected, unchanged = (good_start(generation) - bad_start(generation) for generation in (LAST, start))
    checks = [
        check_equals(f"gap {LAST - start} generations later", last, expected, alternative=unchanged),
        *check_law_at_generations("E s^2 after a bad start", own, "variance", "late-10", bad_start, generations=(10, 13, 20, LAST)),
        check_above(f"gap to the good start when the mixture begins (generation {start})", first),
    ]
    curves = law_and_measured("bad start", own, "variance", "late-10", bad_start, generations=LAST)
    curves += law_and_measured("good start", own, "variance", "fresh-10", good_start, generations=LAST)
    return JudgeOutput(checks, generation_figure("variance", curves))


# ---- C9: the weight of real rows -----------------------------------------------------------------------------------------------

WEIGHTS = {"weight-25": 1 / 4, "weight-50": 1 / 2, "weight-62": 8 / 13, "weight-75": 3 / 4}


def golden_weight_is_best(rows: Rows) -> JudgeOutput:
    own, size, last = rows["gaussian-weights"], 5, 12
    error = {policy: estimate_at(own, "mean_squared_error", policy, last) for policy in (*WEIGHTS, "real-fresh")}
    best = error["weight-62"]
    checks = [
        check_below(f"Var mu at weight 8/13 - at {WEIGHTS[other]:g}", best - error[other])
        for other in ("weight-50", "weight-75", "weight-25")
    ]
    checks.append(check_below("Var mu at weight 8/13 - with real rows alone", best - error["real-fresh"]))
    for policy, weight in WEIGHTS.items():
        law = partial(laws.weighted_mean_error, size=size, weight=weight)
        checks += check_law_at_generations(
            f"Var mu at weight {weight:.3g}", own, "mean_squared_error", policy, law, generations=(1, 3, last)
        )
    curves = [
        law_points("law", np.linspace(0.2, 1, 81).tolist(), laws.weighted_mean_limit),
        measured_curve("measured", list(WEIGHTS.values()), [size * error[policy] for policy in WEIGHTS]),
    ]
    return JudgeOutput(checks, Figure(x="weight of the real rows", y="rows x squared error of the mean", curves=curves))


# ---- C27: the value of synthetic rows ----------------------------------------------------------------------------------------

REAL_ROWS, RATIOS, SCALES = (10, 100), (1, 3, 9), (1.0, 0.8)
"""Cases of C27: real rows per generation, generated rows per real row, and values of `sampling.variance_scale`."""
WORTH_CASES = [(real, ratio, scale) for real in REAL_ROWS for ratio in RATIOS for scale in SCALES]


def _worth_name(real: int, ratio: int, scale: float) -> str:
    return f"gaussian-worth-{real}-{real * ratio}-{scale:g}"


def _worth_config(real: int, ratio: int, scale: float) -> list[str]:
    size = real * (1 + ratio)
    return [
        "gaussian-effective.yaml",
        f"size={size}",
        f"data.rows={size + 25 * real}",
        f"policies.fresh.real_fraction={1 / (1 + ratio)}",
        f"generator.sampling.variance_scale={scale}",
    ]


def worth_depends_on_real_rows(rows: Rows) -> JudgeOutput:
    """Judge C27: compares the measured risk with the exact risk of real rows alone. Generated rows help if the measured risk is lower."""
    risk = {case: estimate_at(rows[_worth_name(*case)], "wasserstein", "fresh", 25) for case in WORTH_CASES}
    checks = []
    for (real, ratio, scale), estimate in risk.items():
        helps = scale == 1 or (real == min(REAL_ROWS) and ratio < max(RATIOS))
        if helps or ratio > min(RATIOS):
            label = f"risk with {real} real and {real * ratio} generated rows, variance_scale {scale:g} / risk with {real} real rows"
            share = estimate / laws.replace_wasserstein(0, size=real)
            checks.append((check_below if helps else check_above)(label, share, 1.0))
    curves = [_effective_rows(real, scale, [risk[real, ratio, scale] for ratio in RATIOS]) for real in REAL_ROWS for scale in SCALES]
    curves.append(law_points("real rows alone", (1, 9), lambda ratio: 1.0))
    axes = {"x": "generated rows per real row", "y": "effective rows per real row"}
    return JudgeOutput(checks, Figure(**axes, curves=curves, log_x=True, log_y=True))


def _effective_rows(real: int, scale: float, risks: list[Estimate]) -> Curve:
    """Build the curve of effective rows: the number of real rows with the same risk, divided by `real`.

    A higher risk means fewer effective rows, so the two ends of each interval are swapped.
    """
    lows, highs = zip(*(risk.interval for risk in risks), strict=True)

    def effective(values: tuple[float, ...]) -> list[float]:
        return [laws.effective_rows(max(1e-6, value)) / real for value in values]

    return Curve(
        label=f"{real} real rows, variance_scale {scale:g}",
        x=list(RATIOS),
        y=effective(tuple(risk.value for risk in risks)),
        low=effective(highs),
        high=effective(lows),
    )


# ---- claims ----------------------------------------------------------------------------------------------------------------

CLAIMS = (
    Claim(
        id="C6",
        statement="A fixed share of fresh real rows keeps the variance at a level above zero.",
        source="Bertrand et al. 2024; Alemohammad et al. 2024, fresh data loop",
        cost="seconds",
        experiments=MIX,
        observable="variance and squared error of the mean",
        expects="s^2 -> 1 - 1/D, Var mu -> 1/D, D = 1 - a + a M (2 - a), at the rate (1 - a)(1 - a - 1/M), for a share a of real rows",
        tolerance=STANDARD_ERRORS,
        judge=real_rows_hold_a_level,
    ),
    Claim(
        id="C7",
        statement="Fresh real rows help more than the same real rows in every generation.",
        source="Alemohammad et al. 2024, sec. 4 and sec. 5",
        cost="seconds",
        experiments=MIX,
        observable="squared error of the mean with fixed rows / with fresh rows",
        expects="3 - 2 a at the fixed point, for a share a of real rows; the law of all generations with fixed rows",
        tolerance=STANDARD_ERRORS,
        judge=fresh_beats_fixed,
    ),
    Claim(
        id="C8",
        statement="With fresh real rows the loop forgets its start.",
        source="Alemohammad et al. 2024, fig. 10",
        cost="seconds",
        experiments=MIX,
        observable="variance with 10 % real rows after ten generations without real rows, compared with 10 % from the start",
        expects="both follow the same recursion to the same limit",
        tolerance=STANDARD_ERRORS,
        judge=start_is_forgotten,
    ),
    Claim(
        id="C9",
        statement="Mixed with an equal number of synthetic rows, real rows are best weighted by the inverse golden ratio.",
        source="He, Xu & Cheng 2025",
        cost="seconds",
        experiments={"gaussian-weights": ["gaussian-weights.yaml"]},
        observable="squared error of the mean at weights 1/4, 1/2, 8/13, 3/4",
        expects="M Var = (w^2 + (1-w)^2) / (1 - (1-w)^2), smallest at w = 0.618 and there smaller than with real rows alone",
        tolerance="orderings: 95 % interval excludes 0; laws: " + STANDARD_ERRORS,
        judge=golden_weight_is_best,
    ),
    Claim(
        id="C27",
        statement="The value of synthetic data depends on the amount of real data: it helps if there is little; if it is biased and there "
        "is much real data, it harms.",
        source="Kazdan et al. 2024; Alemohammad et al. 2024, fig. 11 and 12",
        cost="seconds",
        experiments={_worth_name(*case): _worth_config(*case) for case in WORTH_CASES},
        observable="2-Wasserstein risk of a loop with fresh real rows / risk of its real rows alone; shown in the figure as effective rows",
        expects="without bias (sampling.variance_scale 1): below 1; with variance_scale 0.8: below 1 for 10 or 30 generated with 10 "
        "real rows, above 1 for 90 generated with 10 real rows and for 300 or 900 generated with 100 real rows",
        tolerance="95 % interval excludes 1; the risk of real rows alone is exact",
        judge=worth_depends_on_real_rows,
    ),
)

CONTRADICTIONS = (
    Contradiction(
        question="Do fixed real data prevent collapse, or only delay it?",
        sides=[
            (
                "Only delay it: a loop with a fixed real set still degrades (Alemohammad et al. 2024), for example the VAE of C23.",
                ["C7", "C23"],
            ),
            ("Prevent it: with a share of real data the loop stays near its start (Bertrand et al. 2024).", ["C6", "C7"]),
        ],
        decided_by="The measured quantity and the length of the run. The distance from the true distribution is bounded with fresh and "
        "with fixed real rows. With fixed rows the bound is 3 - 2a times the bound with fresh rows, and never below the error of the "
        "fixed rows. A short run of a large model shows only the approach to the bound, which looks like a delay.",
    ),
)
