"""Claims about a share of real rows beside made ones: fresh or fixed, few or many, and how much they should weigh."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..analytic import laws
from ..common.replication.claim import Claim, Contradiction, Curve, Figure, JudgeOutput, Rows, curve, law_curve, over_generations
from ..common.replication.statistical_checks import Estimate, above, at, below, equals, follows
from .gaussian import STANDARD_ERRORS

MIX = {"gaussian-mix": ["gaussian-mix.yaml"]}
SHARES = {"5": 0.05, "10": 0.1, "25": 0.25}


def real_rows_hold_a_level(rows: Rows) -> JudgeOutput:
    own, checks, curves = rows["gaussian-mix"], [], []
    for name, share in SHARES.items():
        policy = f"fresh-{name}"
        variance = lambda g, share=share: laws.mix_fresh(g, size=100, real_fraction=share)[0]  # noqa: E731
        error = lambda g, share=share: laws.mix_fresh(g, size=100, real_fraction=share)[1]  # noqa: E731
        still = {"at_generations": (1, 3, 10, 32)}
        checks += follows(f"{share:.0%} real: E s^2", own, "variance", policy, variance, **still,
                          rival=lambda g: laws.replace_variance(g, size=100))  # fmt: skip
        checks += follows(f"{share:.0%} real: Var mu", own, "mean_squared_error", policy, error, **still,
                          rival=lambda g: laws.replace_mean_squared_error(g, size=100))  # fmt: skip
        curves += [
            law_curve(f"law: {share:.0%} real", variance, 32),
            over_generations(f"measured: {share:.0%} real", own, "variance", policy),
        ]
    curves.append(law_curve("law: no real rows", lambda g: laws.replace_variance(g, size=100), 32))
    return JudgeOutput(checks, Figure("generation", "variance", curves))


def fresh_beats_fixed(rows: Rows) -> JudgeOutput:
    own, checks, curves = rows["gaussian-mix"], [], []
    for name in ("10", "25"):
        share = SHARES[name]
        fixed, fresh = (at(own, "mean_squared_error", f"{kind}-{name}", 32) for kind in ("fixed", "fresh"))
        checks.append(equals(f"{share:.0%} real: Var mu, fixed / fresh, generation 32", fixed / fresh, 3 - 2 * share, rival=1.0))
        for kind, law in (("fixed", laws.mix_fixed), ("fresh", laws.mix_fresh)):
            expected = lambda g, law=law, share=share: law(g, size=100, real_fraction=share)[1]  # noqa: E731
            if kind == "fixed":
                checks += follows(f"{share:.0%} fixed: Var mu", own, "mean_squared_error", f"fixed-{name}", expected,
                                  at_generations=(1, 3, 10, 32))  # fmt: skip
            curves += [
                law_curve(f"law: {share:.0%} {kind}", expected, 32),
                over_generations(f"measured: {share:.0%} {kind}", own, "mean_squared_error", f"{kind}-{name}"),
            ]
    return JudgeOutput(checks, Figure("generation", "squared error of the mean", curves))


def start_is_forgotten(rows: Rows) -> JudgeOutput:
    own, schedule = rows["gaussian-mix"], [0.0] * 10 + [0.1]
    law = lambda g: laws.mix_fresh(g, size=100, real_fraction=schedule)[0]  # noqa: E731
    good = lambda g: laws.mix_fresh(g, size=100, real_fraction=0.1)[0]  # noqa: E731
    gap = lambda g: at(own, "variance", "fresh-10", g) - at(own, "variance", "late-10", g)  # noqa: E731
    checks = [
        *follows("E s^2 after a bad start", own, "variance", "late-10", law, at_generations=(10, 13, 20, 32)),
        above("gap to the good start when the mixture begins (generation 10)", gap(10)),
        equals("gap 22 generations later", gap(32), good(32) - law(32), rival=good(10) - law(10)),
    ]
    curves = [law_curve("law: bad start", law, 32), over_generations("measured: bad start", own, "variance", "late-10")]
    curves += [law_curve("law: good start", good, 32), over_generations("measured: good start", own, "variance", "fresh-10")]
    return JudgeOutput([checks[-1], *checks[:-1]], Figure("generation", "variance", curves))


WEIGHTS = {"weight-25": 1 / 4, "weight-50": 1 / 2, "weight-62": 8 / 13, "weight-75": 3 / 4}


def golden_weight_is_best(rows: Rows) -> JudgeOutput:
    own, size, last = rows["gaussian-weights"], 5, 12
    found = {policy: at(own, "mean_squared_error", policy, last) for policy in (*WEIGHTS, "real-fresh")}
    best = found["weight-62"]
    checks = [
        below(f"Var mu at weight 8/13 - at {WEIGHTS[other]:g}", best - found[other]) for other in ("weight-50", "weight-75", "weight-25")
    ]
    checks.append(below("Var mu at weight 8/13 - with real rows alone", best - found["real-fresh"]))
    for policy, weight in WEIGHTS.items():
        law = lambda g, weight=weight: laws.weighted_mean_error(g, size=size, weight=weight)  # noqa: E731
        checks += follows(f"Var mu at weight {weight:.3g}", own, "mean_squared_error", policy, law, at_generations=(1, 3, last))
    grid = np.linspace(0.2, 1, 81)
    scaled = [Estimate(size * one.value, size * one.error, one.chains) for one in (found[policy] for policy in WEIGHTS)]
    picture = Figure(
        "weight of the real rows",
        "rows x squared error of the mean",
        [
            Curve("law", grid.tolist(), [laws.weighted_mean_limit(weight) for weight in grid], law=True),
            curve("measured", list(WEIGHTS.values()), scaled),
        ],
    )
    return JudgeOutput(checks, picture)


REAL_ROWS, RATIOS, WORTH_SCALES = (10, 100), (1, 3, 9), (1.0, 0.8)


def _effective() -> Mapping[str, Sequence[str]]:
    found = {}
    for real in REAL_ROWS:
        for ratio in RATIOS:
            size = real * (1 + ratio)
            for scale in WORTH_SCALES:
                found[_worth_name(real, ratio, scale)] = [
                    "gaussian-effective.yaml", f"size={size}", f"data.rows={size + 25 * real}",
                    f"policies.fresh.real_fraction={1 / (1 + ratio)}", f"generator.sampling.variance_scale={scale}",
                ]  # fmt: skip
    return found


def _worth_name(real: int, ratio: int, scale: float) -> str:
    return f"gaussian-worth-{real}-{real * ratio}-{scale:g}"


def worth_depends_on_real_rows(rows: Rows) -> JudgeOutput:
    """Ratios of risks: that of real rows alone is exact, so n_e > n_r where the measured risk lies below it."""
    found = {
        (real, ratio, scale): at(rows[_worth_name(real, ratio, scale)], "wasserstein", "fresh", 25)
        for real in REAL_ROWS for ratio in RATIOS for scale in WORTH_SCALES
    }  # fmt: skip
    checks = []
    for (real, ratio, scale), risk in found.items():
        alone = laws.replace_wasserstein(0, size=real)
        share = Estimate(risk.value / alone, risk.error / alone, risk.chains)
        helps = scale == 1 or (real == min(REAL_ROWS) and ratio < max(RATIOS))
        if helps or ratio > min(RATIOS):
            about = f"risk with {real} real and {real * ratio} made rows, lambda {scale:g}, over that of {real} real rows"
            checks.append((below if helps else above)(about, share, 1.0))
    curves = []
    for real in REAL_ROWS:
        for scale in WORTH_SCALES:
            points = [found[real, ratio, scale] for ratio in RATIOS]
            worth = [laws.effective_rows(one.value) / real for one in points]
            ends = [[laws.effective_rows(max(1e-6, end)) / real for end in one.interval] for one in points]
            curves.append(Curve(f"{real} real rows, λ {scale:g}", list(RATIOS), worth, [e[1] for e in ends], [e[0] for e in ends]))
    curves.append(Curve("real rows alone", [1, 9], [1.0, 1.0], law=True))
    return JudgeOutput(checks, Figure("made rows for each real row", "effective rows for each real row", curves, log_x=True, log_y=True))


CLAIMS = (
    Claim(
        id="C6",
        says="A fixed share of fresh real rows holds the loop at a level that is not zero.",
        source="Bertrand et al. 2024; Alemohammad et al. 2024, fresh data loop",
        cost="seconds",
        experiments=MIX,
        observable="variance and squared error of the mean",
        expects="s^2 -> 1 - 1/D, Var mu -> 1/D, D = 1 - a + a M (2 - a), at the rate (1 - a)(1 - a - 1/M)",
        tolerance=STANDARD_ERRORS,
        judge=real_rows_hold_a_level,
    ),
    Claim(
        id="C7",
        says="Fresh real rows are worth more than the same ones again and again.",
        source="Alemohammad et al. 2024, sec. 4 against sec. 5",
        cost="seconds",
        experiments=MIX,
        observable="squared error of the mean with fixed rows over that with fresh ones",
        expects="3 - 2 a at the fixed point; the whole course with fixed rows",
        tolerance=STANDARD_ERRORS,
        judge=fresh_beats_fixed,
    ),
    Claim(
        id="C8",
        says="With fresh real rows the loop forgets how it began.",
        source="Alemohammad et al. 2024, fig. 10",
        cost="seconds",
        experiments=MIX,
        observable="variance after ten generations without real rows, then 10 %, beside 10 % from the start",
        expects="both follow the same recursion to the same limit",
        tolerance=STANDARD_ERRORS,
        judge=start_is_forgotten,
    ),
    Claim(
        id="C9",
        says="Beside as much synthetic data, real data is best weighted by the inverse golden ratio.",
        source="He, Xu & Cheng 2025",
        cost="seconds",
        experiments={"gaussian-weights": ["gaussian-weights.yaml"]},
        observable="squared error of the mean at weights 1/4, 1/2, 8/13, 3/4",
        expects="M Var = (w^2 + (1-w)^2) / (1 - (1-w)^2), least at 0.618, and there below real rows alone",
        tolerance="orderings clear of 0 by 95 %; laws: " + STANDARD_ERRORS,
        judge=golden_weight_is_best,
    ),
    Claim(
        id="C27",
        says=(
            "What synthetic data is worth depends on how much real data there is: much beside little, less than nothing "
            "beside much if it is biased."
        ),
        source="Kazdan et al. 2024; Alemohammad et al. 2024, fig. 11 and 12",
        cost="seconds",
        experiments=_effective(),
        observable="2-Wasserstein risk of a fresh loop over that of its real rows alone; as effective rows in the picture",
        expects=(
            "without bias below 1; with bias below 1 for one or three times 10 real rows, above 1 for three times 100, and "
            "for nine times either"
        ),
        tolerance="clear of 1 by 95 %; the risk of real rows alone is exact",
        judge=worth_depends_on_real_rows,
    ),
)

CONTRADICTIONS = (
    Contradiction(
        "Do fixed real data prevent collapse, or only delay it?",
        (
            (
                "Only delay it: the loop with a fixed real set still degrades, as does the VAE of C23 (Alemohammad et al. 2024).",
                ["C7", "C23"],
            ),
            ("Prevent it: with a share of real data the loop stays near its start (Bertrand et al. 2024).", ["C6", "C7"]),
        ),
        "What is measured. The distance from the truth is bounded with either kind of real rows, but the level with fixed ones is "
        "3 - 2a times that with fresh ones and does not fall below the error of those few rows. A short run of a large model shows the way "
        "to the level and looks like a delay.",
    ),
)
