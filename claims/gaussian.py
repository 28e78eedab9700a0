"""Claims that a Gaussian settles: what replacement, accumulation and a share of real rows do to a mean and a variance."""

from __future__ import annotations

import numpy as np

from ..analytic import laws
from ..common.replication.claim import Claim, Curve, Figure, JudgeOutput, Rows, law_curve, over_generations
from ..common.replication.statistical_checks import Estimate, above, below, by_seed, equals, follows

STANDARD_ERRORS = "4 standard errors over chains, from their own scatter: a true law is refused once in 16,000 checks"
EARLY_AND_LATE = (0, 1, 5, 19)
"""Early generations tell a shift by one generation, late ones the rate."""

GAUSSIAN = {"gaussian": ["gaussian.yaml"]}
UNBIASED = {"gaussian-unbiased": ["gaussian.yaml", "generator.ddof=1"]}
FIVE = {"gaussian-5d": ["gaussian.yaml", "data.dimensions=5", "data.worlds=400", "policies=[replace]"]}
M = 50


def variance_decays(rows: Rows) -> JudgeOutput:
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
    return JudgeOutput(
        checks,
        Figure(
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


def unbiased_collapses(rows: Rows) -> JudgeOutput:
    own = rows["gaussian-unbiased"]
    typical = lambda g: laws.replace_log_variance(g, size=M, ddof=1)  # noqa: E731
    checks = [
        *follows("E ln s^2", own, "log_variance", "replace", typical, at_generations=EARLY_AND_LATE, rival=lambda g: 0.0),
        *follows(
            "E s^2", own, "variance", "replace", lambda g: 1.0, at_generations=EARLY_AND_LATE,
            rival=lambda g: laws.replace_variance(g, size=M),
        ),
    ]  # fmt: skip
    picture = Figure(
        "generation",
        "ln of the variance: of its mean, and mean of its ln",
        [
            law_curve("law: ln E s² = 0", lambda g: 0.0, 19),
            law_curve("law: E ln s²", typical, 19),
            _logged(over_generations("measured: ln E s²", own, "variance", "replace")),
            over_generations("measured: E ln s²", own, "log_variance", "replace"),
        ],
    )
    return JudgeOutput(checks, picture)


def mean_drifts(rows: Rows) -> JudgeOutput:
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
    return JudgeOutput(checks, Figure("generation", "squared 2-Wasserstein distance to the truth", curves))


def accumulation_is_bounded(rows: Rows) -> JudgeOutput:
    own = rows["gaussian"]
    law = lambda g: laws.accumulate_variance(g, size=M)  # noqa: E731
    lost = lambda g: laws.replace_variance(g, size=M)  # noqa: E731
    checks = [
        *follows("E s^2", own, "variance", "accumulate", law, at_generations=EARLY_AND_LATE, rival=lost),
        *follows("Var mu", own, "mean_squared_error", "accumulate", lambda g: 1 - law(g), at_generations=EARLY_AND_LATE,
                 rival=lambda g: 1 - lost(g)),
    ]  # fmt: skip
    picture = Figure(
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
    return JudgeOutput(checks, picture)


def subsampling_lies_between(rows: Rows) -> JudgeOutput:
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
    return JudgeOutput(checks, Figure("generation", "variance", curves))


GROWTH = {"constant": 0, "linear": 1, "quadratic": 2}


def growth_has_to_be_fast(rows: Rows) -> JudgeOutput:
    own, checks, curves = rows["gaussian-growth"], [], []
    for policy, power in GROWTH.items():
        law = lambda g, power=power: laws.growing_variance([20 * i**power for i in range(1, g + 2)])  # noqa: E731
        rival = laws.growing_variance([20 * i for i in range(1, 14)]) if power != 1 else laws.replace_variance(12, size=20)
        checks += follows(
            f"E s^2, rows M i^{power}", own, "variance", policy, law, at_generations=(0, 1, 5, 12), rival=lambda g, one=rival: one
        )
        curves += [law_curve(f"law: M i^{power}", law, 12), over_generations(f"measured: M i^{power}", own, "variance", policy)]
    return JudgeOutput(checks, Figure("generation", "variance", curves))


SCALES = {0.7: "gaussian-bias-0.7", 0.9: "gaussian-bias-0.9"}
BIAS = {name: ["gaussian-bias.yaml", f"generator.sampling.variance_scale={scale}"] for scale, name in SCALES.items()}


def sharpness_speeds_collapse(rows: Rows) -> JudgeOutput:
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
    return JudgeOutput(checks, Figure("generation", "variance", curves, log_y=True))


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
)
