"""Claims that a Gaussian settles: what replacement, accumulation and a share of real rows do to a mean and a variance."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..analytic import laws
from ..common.claims import (
    Claim,
    Contradiction,
    Curve,
    Estimate,
    Finding,
    Picture,
    Rows,
    above,
    at,
    below,
    by_seed,
    curve,
    equals,
    follows,
    law_curve,
    over_generations,
)

STANDARD_ERRORS = "4 standard errors over chains, from their own scatter: a true law is refused once in 16,000 checks"
EARLY_AND_LATE = (0, 1, 5, 19)
"""Early generations tell a shift by one generation, late ones the rate."""

GAUSSIAN = {"gaussian": ["gaussian.yaml"]}
UNBIASED = {"gaussian-unbiased": ["gaussian.yaml", "generator.ddof=1"]}
FIVE = {"gaussian-5d": ["gaussian.yaml", "data.dimensions=5", "data.worlds=400", "policies=[replace]"]}
M = 50


def variance_decays(rows: Rows) -> Finding:
    own, wide = rows["gaussian"], rows["gaussian-5d"]
    expected = lambda g: laws.replace_variance(g, size=M)  # noqa: E731
    typical = lambda g: laws.replace_log_variance(g, size=M)  # noqa: E731
    checks = [
        *follows("E s^2", own, "variance", "replace", expected, at_generations=EARLY_AND_LATE, rival=lambda g: 1 - 1 / M),
        *follows("E ln s^2", own, "log_variance", "replace", typical, at_generations=EARLY_AND_LATE, rival=lambda g: np.log(expected(g))),
        *follows("5 dimensions: E tr S / 5", wide, "variance", "replace", expected, at_generations=EARLY_AND_LATE, rival=lambda g: 1.0),
        *follows(
            "5 dimensions: E ln det S / 5", wide, "log_variance", "replace",
            lambda g: laws.replace_log_variance(g, size=M, dimensions=5), at_generations=EARLY_AND_LATE, rival=typical,
        ),
    ]  # fmt: skip
    spread = own[(own.metric == "log_variance_se") & (own.generation == 19) & (own.policy == "replace")].value.item()
    n = 2000
    found = Estimate(spread**2 * n, spread**2 * n * np.sqrt(2 / n), n)
    checks.append(equals("Var ln s^2, generation 19", found, laws.replace_log_variance_spread(19, size=M)))
    return Finding(
        checks,
        Picture(
            "generation",
            "ln of the variance: of its mean, and mean of its ln",
            [
                law_curve("law: ln E s²", lambda g: float(np.log(expected(g))), 19),
                law_curve("law: E ln s²", typical, 19),
                _logged(over_generations("measured: ln E s²", own, "variance", "replace")),
                over_generations("measured: E ln s²", own, "log_variance", "replace"),
            ],
        ),
    )


def _logged(found: Curve) -> Curve:
    return Curve(found.label, found.x, np.log(found.y).tolist(), np.log(found.low).tolist(), np.log(found.high).tolist())


def unbiased_collapses(rows: Rows) -> Finding:
    own = rows["gaussian-unbiased"]
    typical = lambda g: laws.replace_log_variance(g, size=M, ddof=1)  # noqa: E731
    checks = [
        *follows("E ln s^2", own, "log_variance", "replace", typical, at_generations=EARLY_AND_LATE, rival=lambda g: 0.0),
        *follows(
            "E s^2", own, "variance", "replace", lambda g: 1.0, at_generations=EARLY_AND_LATE,
            rival=lambda g: laws.replace_variance(g, size=M),
        ),
    ]  # fmt: skip
    picture = Picture(
        "generation",
        "ln of the variance: of its mean, and mean of its ln",
        [
            law_curve("law: ln E s² = 0", lambda g: 0.0, 19),
            law_curve("law: E ln s²", typical, 19),
            _logged(over_generations("measured: ln E s²", own, "variance", "replace")),
            over_generations("measured: E ln s²", own, "log_variance", "replace"),
        ],
    )
    return Finding(checks, picture)


def mean_drifts(rows: Rows) -> Finding:
    checks, curves = [], []
    for ddof, name, label in ((0, "gaussian", "MLE"), (1, "gaussian-unbiased", "unbiased")):
        error = lambda g, ddof=ddof: laws.replace_mean_squared_error(g, size=M, ddof=ddof)  # noqa: E731
        distance = lambda g, ddof=ddof: laws.replace_wasserstein(g, size=M, ddof=ddof)  # noqa: E731
        still = {"at_generations": EARLY_AND_LATE}
        checks += follows(f"{label}: E W2^2", rows[name], "wasserstein", "replace", distance, **still, rival=lambda g, one=distance: one(0))
        checks += follows(f"{label}: Var mu", rows[name], "mean_squared_error", "replace", error, **still, rival=lambda g: 1 / M)
        curves += [
            law_curve(f"law: {label}", distance, 19),
            over_generations(f"measured: {label}", rows[name], "wasserstein", "replace"),
        ]
    return Finding(checks, Picture("generation", "squared 2-Wasserstein distance to the truth", curves))


def accumulation_is_bounded(rows: Rows) -> Finding:
    own = rows["gaussian"]
    law = lambda g: laws.accumulate_variance(g, size=M)  # noqa: E731
    lost = lambda g: laws.replace_variance(g, size=M)  # noqa: E731
    checks = [
        *follows("E s^2", own, "variance", "accumulate", law, at_generations=EARLY_AND_LATE, rival=lost),
        *follows("Var mu", own, "mean_squared_error", "accumulate", lambda g: 1 - law(g), at_generations=EARLY_AND_LATE,
                 rival=lambda g: 1 - lost(g)),
    ]  # fmt: skip
    picture = Picture(
        "generation",
        "variance",
        [
            law_curve("law: accumulate", law, 19),
            law_curve("its limit", lambda g: laws.accumulate_limit(size=M), 19),
            law_curve("law: replace", lost, 19),
            over_generations("measured: accumulate", own, "variance", "accumulate"),
            over_generations("measured: replace", own, "variance", "replace"),
        ],
    )
    return Finding(checks, picture)


def subsampling_lies_between(rows: Rows) -> Finding:
    own, size, last = rows["gaussian-subsample"], 10, 9
    lawful = {
        "accumulate": lambda g: laws.accumulate_variance(g, size=size),
        "accumulate-subsample": lambda g: laws.subsample_variance(g, size=size),
        "replace": lambda g: laws.replace_variance(g, size=size),
    }
    ends = {policy: by_seed(own, "variance", policy, last) for policy in lawful}
    checks = [
        *follows(
            "E s^2", own, "variance", "accumulate-subsample", lawful["accumulate-subsample"], at_generations=(0, 1, 5, last),
            rival=lawful["accumulate"],
        ),
        above(f"subsample - replace, generation {last}", Estimate.of(ends["accumulate-subsample"] - ends["replace"])),
        below(f"subsample - accumulate, generation {last}", Estimate.of(ends["accumulate-subsample"] - ends["accumulate"])),
    ]  # fmt: skip
    curves = []
    for policy, law in lawful.items():
        curves += [law_curve(f"law: {policy}", law, last), over_generations(f"measured: {policy}", own, "variance", policy)]
    return Finding(checks, Picture("generation", "variance", curves))


MIX = {"gaussian-mix": ["gaussian-mix.yaml"]}
SHARES = {"5": 0.05, "10": 0.1, "25": 0.25}


def real_rows_hold_a_level(rows: Rows) -> Finding:
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
    return Finding(checks, Picture("generation", "variance", curves))


def fresh_beats_fixed(rows: Rows) -> Finding:
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
    return Finding(checks, Picture("generation", "squared error of the mean", curves))


def start_is_forgotten(rows: Rows) -> Finding:
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
    return Finding([checks[-1], *checks[:-1]], Picture("generation", "variance", curves))


WEIGHTS = {"weight-25": 1 / 4, "weight-50": 1 / 2, "weight-62": 8 / 13, "weight-75": 3 / 4}


def golden_weight_is_best(rows: Rows) -> Finding:
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
    picture = Picture(
        "weight of the real rows",
        "rows x squared error of the mean",
        [
            Curve("law", grid.tolist(), [laws.weighted_mean_limit(weight) for weight in grid], law=True),
            curve("measured", list(WEIGHTS.values()), scaled),
        ],
    )
    return Finding(checks, picture)


GROWTH = {"constant": 0, "linear": 1, "quadratic": 2}


def growth_has_to_be_fast(rows: Rows) -> Finding:
    own, checks, curves = rows["gaussian-growth"], [], []
    for policy, power in GROWTH.items():
        law = lambda g, power=power: laws.growing_variance([20 * i**power for i in range(1, g + 2)])  # noqa: E731
        rival = laws.growing_variance([20 * i for i in range(1, 14)]) if power != 1 else laws.replace_variance(12, size=20)
        checks += follows(
            f"E s^2, rows M i^{power}", own, "variance", policy, law, at_generations=(0, 1, 5, 12), rival=lambda g, one=rival: one
        )
        curves += [law_curve(f"law: M i^{power}", law, 12), over_generations(f"measured: M i^{power}", own, "variance", policy)]
    return Finding(checks, Picture("generation", "variance", curves))


SCALES = {0.7: "gaussian-bias-0.7", 0.9: "gaussian-bias-0.9"}
BIAS = {name: ["gaussian-bias.yaml", f"generator.sampling.scale={scale}"] for scale, name in SCALES.items()}


def sharpness_speeds_collapse(rows: Rows) -> Finding:
    checks, curves = [], []
    for scale, name in SCALES.items():
        lawful = {
            "replace": lambda g, scale=scale: laws.replace_variance(g, size=M, scale=scale),
            "accumulate": lambda g, scale=scale: laws.accumulate_variance(g, size=M, scale=scale),
            "fresh-10": lambda g, scale=scale: laws.mix_fresh(g, size=M, real_fraction=0.1, scale=scale)[0],
        }
        fair = {
            "replace": lambda g: laws.replace_variance(g, size=M),
            "accumulate": lambda g: laws.accumulate_variance(g, size=M),
            "fresh-10": lambda g: laws.mix_fresh(g, size=M, real_fraction=0.1)[0],
        }
        for policy, law in lawful.items():
            about = f"{policy}, lambda {scale}: E s^2"
            checks += follows(about, rows[name], "variance", policy, law, at_generations=EARLY_AND_LATE, rival=fair[policy])
            curves += [
                law_curve(f"law: {policy}, λ {scale}", law, 19),
                over_generations(f"measured: {policy}, λ {scale}", rows[name], "variance", policy),
            ]
    return Finding(checks, Picture("generation", "variance", curves, log_y=True))


REAL_ROWS, RATIOS, WORTH_SCALES = (10, 100), (1, 3, 9), (1.0, 0.8)


def _effective() -> Mapping[str, Sequence[str]]:
    found = {}
    for real in REAL_ROWS:
        for ratio in RATIOS:
            size = real * (1 + ratio)
            for scale in WORTH_SCALES:
                found[_worth_name(real, ratio, scale)] = [
                    "gaussian-effective.yaml", f"size={size}", f"data.rows={size + 25 * real}",
                    f"policies.fresh.real_fraction={1 / (1 + ratio)}", f"generator.sampling.scale={scale}",
                ]  # fmt: skip
    return found


def _worth_name(real: int, ratio: int, scale: float) -> str:
    return f"gaussian-worth-{real}-{real * ratio}-{scale:g}"


def worth_depends_on_real_rows(rows: Rows) -> Finding:
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
    return Finding(checks, Picture("made rows for each real row", "effective rows for each real row", curves, log_x=True, log_y=True))


CLAIMS = (
    Claim(
        id="C1",
        says="Training on the last model's output alone drives the variance of a Gaussian to zero.",
        source="Shumailov et al. 2024, theorem 3.1; Alemohammad et al. 2024",
        cost="seconds",
        experiments={**GAUSSIAN, **FIVE},
        observable="variance of the n-th fit, and its logarithm, in 1 and in 5 dimensions",
        expects="E s_n^2 = (1 - 1/M)^n; E ln s_n^2 = n [psi((M-1)/2) - ln(M/2)]; Var ln s_n^2 = n psi1((M-1)/2)",
        tolerance=STANDARD_ERRORS,
        judge=variance_decays,
    ),
    Claim(
        id="C2",
        says="An unbiased estimator does not help: the expected variance stays, and almost every chain still collapses.",
        source="Shumailov et al. 2024; Alemohammad et al. 2024",
        cost="seconds",
        experiments=UNBIASED,
        observable="variance of the n-th fit, and its logarithm",
        expects="E s_n^2 = 1, yet E ln s_n^2 = n [psi((M-1)/2) - ln((M-1)/2)]",
        tolerance=STANDARD_ERRORS,
        judge=unbiased_collapses,
    ),
    Claim(
        id="C3",
        says="The mean wanders off, and the distance to the truth grows with every generation.",
        source="Shumailov et al. 2024, supplement; Alemohammad et al. 2024",
        cost="seconds",
        experiments={**GAUSSIAN, **UNBIASED},
        observable="squared error of the mean; squared 2-Wasserstein distance to the truth",
        expects="MLE: Var mu = 1 - (1 - 1/M)^n, E W2^2 = 2 (1 - c_M^n); unbiased: n/M and n/M + 2 (1 - c_4^n)",
        tolerance=STANDARD_ERRORS,
        judge=mean_drifts,
    ),
    Claim(
        id="C4",
        says="If generations add to the data and nothing is thrown away, the loss of variance is bounded.",
        source="Gerstgrasser et al. 2024, theorem 1; Dey & Donoho 2024",
        cost="seconds",
        experiments=GAUSSIAN,
        observable="variance and squared error of the mean",
        expects="E s_n^2 = prod (1 - 1/(j^2 M)), above sin(pi/sqrt M)/(pi/sqrt M); Var mu = 1 - that",
        tolerance=STANDARD_ERRORS,
        judge=accumulation_is_bounded,
    ),
    Claim(
        id="C5",
        says="A fixed budget drawn from all data so far loses more than accumulation, less than replacement, and levels off.",
        source="Kazdan et al. 2024",
        cost="seconds",
        experiments={"gaussian-subsample": ["gaussian-subsample.yaml"]},
        observable="variance",
        expects="the product law of sampling without replacement; replace < subsample < accumulate",
        tolerance=STANDARD_ERRORS + "; here chains are seeds, because worlds share the rows that are drawn",
        judge=subsampling_lies_between,
    ),
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
        id="C12",
        says="Replacement keeps its variance only if the samples of a generation grow faster than linearly.",
        source="Shumailov et al. 2024, supplement; Xu et al. 2025",
        cost="seconds",
        experiments={"gaussian-growth": ["gaussian-growth.yaml"]},
        observable="variance with M, M i and M i^2 rows at the i-th fit",
        expects="E s_n^2 = prod (1 - 1/M_i): exponential, n^(-1/M), a positive limit",
        tolerance=STANDARD_ERRORS,
        judge=growth_has_to_be_fast,
    ),
    Claim(
        id="C15",
        says="Sampling closer to the mode speeds collapse, and then accumulation does not fully protect.",
        source="Alemohammad et al. 2024; Gerstgrasser et al. 2024 (temperature 0.3)",
        cost="seconds",
        experiments=BIAS,
        observable="variance under lambda 0.7 and 0.9",
        expects="replace: lambda^(n-1) (1 - 1/M)^n; accumulate: ~ n^-(1 - lambda), to zero; fresh mix: its recursion",
        tolerance=STANDARD_ERRORS,
        judge=sharpness_speeds_collapse,
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
            ("Only delay it: the loop with a fixed real set still degrades (Alemohammad et al. 2024, sec. 4).", ["C7", "C23"]),
            ("Prevent it: with a share of real data the loop stays near its start (Bertrand et al. 2024).", ["C6", "C7"]),
        ),
        "What is measured. The distance from the truth is bounded with either kind of real rows, but the level with fixed ones is "
        "3 - 2a times that with fresh ones and does not fall below the error of those few rows. A short run of a large model shows the way "
        "to the level and looks like a delay.",
    ),
    Contradiction(
        "Does accumulating avoid collapse?",
        (
            ("It does: the loss is bounded by pi^2/6 times that of one fit (Gerstgrasser et al. 2024).", ["C4", "C10", "C14", "C20"]),
            ("Not always: with sharpened samples or with a family that widens its data it degrades without end (Kazdan et al. 2024; "
             "Barzilai & Shamir 2025).", ["C15", "C16", "C20b", "C26"]),
        ),
        "Whether a fit reproduces its data on average. Unbiased sampling from a maximum-likelihood fit adds errors that fall as 1/j^2 and "
        "have a finite sum; a bias of the sampler or of the family adds its share in every generation, 1/j, and that sum has no end.",
    ),
)  # fmt: skip
