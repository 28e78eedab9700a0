"""Claims tested with a Gaussian: laws of its mean and variance under replacement, accumulation and a share of real rows."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from ..analytic import laws
from ..common.replication.claim import Claim, JudgeOutput, Rows, generation_figure, law_and_measured, law_curve, over_generations
from ..common.replication.schema import Curve, Figure
from ..common.replication.statistical_checks import (
    Estimate,
    by_seed,
    check_above,
    check_below,
    check_equals,
    check_law_at_generations,
)

STANDARD_ERRORS = "within 4 standard errors, estimated from the spread of chains; a true law fails once in 16,000 checks"
EARLY_AND_LATE = (0, 1, 5, 19)
"""Generations to check. Early generations reveal a shift by one generation, late generations reveal a wrong rate."""

GAUSSIAN = {"gaussian": ["gaussian.yaml"]}
UNBIASED = {"gaussian-unbiased": ["gaussian.yaml", "generator.ddof=1"]}
FIVE_DIMENSIONS = {"gaussian-5d": ["gaussian.yaml", "data.dimensions=5", "data.replicates=400", "policies=[replace]"]}
M, REPLICATES = 50, 2000
"""Number of rows of a pool and number of chains in `gaussian.yaml`."""


# ---- C1, C2: the variance under replacement -------------------------------------------------------------------------------


def variance_decays(rows: Rows) -> JudgeOutput:
    one, five = rows["gaussian"], rows["gaussian-5d"]
    mean = partial(laws.replace_variance, size=M)
    mean_log = partial(laws.replace_log_variance, size=M)
    mean_log_5d = partial(laws.replace_log_variance, size=M, dimensions=5)
    check = partial(check_law_at_generations, policy="replace", generations=EARLY_AND_LATE)
    checks = [
        *check("E s^2", one, "variance", law=mean, alternative=lambda g: 1 - 1 / M),
        *check("E ln s^2", one, "log_variance", law=mean_log, alternative=lambda g: float(np.log(mean(g)))),
        *check("5 dimensions: E tr S / 5", five, "variance", law=mean, alternative=lambda g: 1.0),
        *check("5 dimensions: E ln det S / 5", five, "log_variance", law=mean_log_5d, alternative=mean_log),
    ]
    error = one[(one.metric == "log_variance_se") & (one.generation == 19) & (one.policy == "replace")].value.item()
    variance = error**2 * REPLICATES
    estimate = Estimate(variance, variance * np.sqrt(2 / REPLICATES), REPLICATES)
    checks.append(check_equals("Var ln s^2, generation 19", estimate, laws.replace_log_variance_spread(19, size=M)))
    curves = [law_curve("law: ln E s²", lambda g: float(np.log(mean(g))), 19), law_curve("law: E ln s²", mean_log, 19)]
    return JudgeOutput(checks, _log_variance_figure(rows, "gaussian", curves))


def unbiased_collapses(rows: Rows) -> JudgeOutput:
    own = rows["gaussian-unbiased"]
    mean_log = partial(laws.replace_log_variance, size=M, ddof=1)
    check = partial(check_law_at_generations, policy="replace", generations=EARLY_AND_LATE)
    checks = [
        *check("E ln s^2", own, "log_variance", law=mean_log, alternative=lambda g: 0.0),
        *check("E s^2", own, "variance", law=lambda g: 1.0, alternative=partial(laws.replace_variance, size=M)),
    ]
    curves = [law_curve("law: ln E s² = 0", lambda g: 0.0, 19), law_curve("law: E ln s²", mean_log, 19)]
    return JudgeOutput(checks, _log_variance_figure(rows, "gaussian-unbiased", curves))


def _log_variance_figure(rows: Rows, experiment: str, law_curves: list[Curve]) -> Figure:
    """Build a figure of ln of the mean variance and mean of ln variance under replacement, both measured and as laws."""
    mean = over_generations("measured: ln E s²", rows[experiment], "variance", "replace")
    logs = {name: np.log(getattr(mean, name)).tolist() for name in ("y", "low", "high")}
    measured = [mean.model_copy(update=logs), over_generations("measured: E ln s²", rows[experiment], "log_variance", "replace")]
    return generation_figure("ln of the mean variance, and mean of ln variance", [*law_curves, *measured])


# ---- C3 to C5: the mean, accumulation and subsampling ------------------------------------------------------------------------


def mean_drifts(rows: Rows) -> JudgeOutput:
    checks, curves = [], []
    for ddof, name, label in ((0, "gaussian", "MLE"), (1, "gaussian-unbiased", "unbiased")):
        distance = partial(laws.replace_wasserstein, size=M, ddof=ddof)
        error = partial(laws.replace_mean_squared_error, size=M, ddof=ddof)
        check = partial(check_law_at_generations, policy="replace", generations=EARLY_AND_LATE)
        start = distance(0)
        checks += check(f"{label}: E W2^2", rows[name], "wasserstein", law=distance, alternative=_constant(start))
        checks += check(f"{label}: Var mu", rows[name], "mean_squared_error", law=error, alternative=_constant(1 / M))
        curves += law_and_measured(label, rows[name], "wasserstein", "replace", distance, generations=19)
    return JudgeOutput(checks, generation_figure("squared 2-Wasserstein distance to the true distribution", curves))


def accumulation_is_bounded(rows: Rows) -> JudgeOutput:
    own = rows["gaussian"]
    accumulate, replace = partial(laws.accumulate_variance, size=M), partial(laws.replace_variance, size=M)
    check = partial(check_law_at_generations, policy="accumulate", generations=EARLY_AND_LATE)
    checks = [
        *check("E s^2", own, "variance", law=accumulate, alternative=replace),
        *check("Var mu", own, "mean_squared_error", law=lambda g: 1 - accumulate(g), alternative=lambda g: 1 - replace(g)),
    ]
    curves = [
        law_curve("law: accumulate", accumulate, 19),
        law_curve("its limit", _constant(laws.accumulate_limit(size=M)), 19),
        law_curve("law: replace", replace, 19),
        over_generations("measured: accumulate", own, "variance", "accumulate"),
        over_generations("measured: replace", own, "variance", "replace"),
    ]
    return JudgeOutput(checks, generation_figure("variance", curves))


def subsampling_lies_between(rows: Rows) -> JudgeOutput:
    own, size, last, subsample = rows["gaussian-subsample"], 10, 9, "accumulate-subsample"
    policy_laws = {
        "accumulate": partial(laws.accumulate_variance, size=size),
        subsample: partial(laws.subsample_variance, size=size),
        "replace": partial(laws.replace_variance, size=size),
    }
    variance = {policy: by_seed(own, "variance", policy, last) for policy in policy_laws}
    law, alternative = policy_laws[subsample], policy_laws["accumulate"]
    checks = [
        *check_law_at_generations("E s^2", own, "variance", subsample, law, generations=(0, 1, 5, last), alternative=alternative),
        check_above(f"subsample - replace, generation {last}", Estimate.of(variance[subsample] - variance["replace"])),
        check_below(f"subsample - accumulate, generation {last}", Estimate.of(variance[subsample] - variance["accumulate"])),
    ]
    curves = []
    for policy, law in policy_laws.items():
        curves += law_and_measured(policy, own, "variance", policy, law, generations=last)
    return JudgeOutput(checks, generation_figure("variance", curves))


# ---- C12: growing pools --------------------------------------------------------------------------------------------------------

GROWTH_POWERS = {"constant": 0, "linear": 1, "quadratic": 2}
"""Policies of `gaussian-growth.yaml` and their powers. The i-th fit has M i^power rows."""


def growth_has_to_be_fast(rows: Rows) -> JudgeOutput:
    own, size, last = rows["gaussian-growth"], 20, 12
    checks, curves = [], []
    for policy, power in GROWTH_POWERS.items():
        law = partial(_growing_variance, size=size, power=power)
        other = laws.replace_variance(last, size=size) if power == 1 else _growing_variance(last, size=size, power=1)
        label = f"M i^{power}"
        checks += check_law_at_generations(
            f"E s^2, rows {label}", own, "variance", policy, law, generations=(0, 1, 5, last), alternative=_constant(other)
        )
        curves += law_and_measured(label, own, "variance", policy, law, generations=last)
    return JudgeOutput(checks, generation_figure("variance", curves))


def _growing_variance(generation: int, *, size: int, power: int) -> float:
    return laws.growing_variance([size * i**power for i in range(1, generation + 2)])


# ---- C15: sampling closer to the mode ------------------------------------------------------------------------------------------

VARIANCE_SCALES = {0.7: "gaussian-bias-0.7", 0.9: "gaussian-bias-0.9"}
SHARPENED = {name: ["gaussian-bias.yaml", f"generator.sampling.variance_scale={scale}"] for scale, name in VARIANCE_SCALES.items()}


def sharpness_speeds_collapse(rows: Rows) -> JudgeOutput:
    checks, curves = [], []
    for scale, name in VARIANCE_SCALES.items():
        unbiased = _laws_of_policies(scale=1.0)
        for policy, law in _laws_of_policies(scale=scale).items():
            label = f"{policy}, variance_scale {scale}"
            checks += check_law_at_generations(
                f"{label}: E s^2", rows[name], "variance", policy, law, generations=EARLY_AND_LATE, alternative=unbiased[policy]
            )
            curves += law_and_measured(label, rows[name], "variance", policy, law, generations=19)
    return JudgeOutput(checks, generation_figure("variance", curves, log_y=True))


def _laws_of_policies(*, scale: float) -> dict[str, Callable[[int], float]]:
    """Return the law of the expected variance under each policy of `gaussian-bias.yaml`."""
    return {
        "replace": partial(laws.replace_variance, size=M, scale=scale),
        "accumulate": partial(laws.accumulate_variance, size=M, scale=scale),
        "fresh-10": lambda g: laws.mix_fresh(g, size=M, real_fraction=0.1, scale=scale)[0],
    }


def _constant(value: float) -> Callable[[int], float]:
    return lambda generation: value


# ---- claims ----------------------------------------------------------------------------------------------------------------

CLAIMS = (
    Claim(
        id="C1",
        statement="Training only on the output of the last model drives the variance of a Gaussian to zero.",
        source="Shumailov et al. 2024, theorem 3.1; Alemohammad et al. 2024",
        cost="seconds",
        experiments={**GAUSSIAN, **FIVE_DIMENSIONS},
        observable="variance of the n-th fit, and its logarithm, in 1 and in 5 dimensions",
        expects="E s_n^2 = (1 - 1/M)^n; E ln s_n^2 = n [psi((M-1)/2) - ln(M/2)]; Var ln s_n^2 = n psi1((M-1)/2)",
        tolerance=STANDARD_ERRORS,
        judge=variance_decays,
    ),
    Claim(
        id="C2",
        statement="An unbiased estimator does not help: the expected variance is constant, but almost every chain still collapses.",
        source="Shumailov et al. 2024; Alemohammad et al. 2024",
        cost="seconds",
        experiments=UNBIASED,
        observable="variance of the n-th fit, and its logarithm",
        expects="E s_n^2 = 1, but E ln s_n^2 = n [psi((M-1)/2) - ln((M-1)/2)]",
        tolerance=STANDARD_ERRORS,
        judge=unbiased_collapses,
    ),
    Claim(
        id="C3",
        statement="The mean drifts, and the distance to the true distribution grows with every generation.",
        source="Shumailov et al. 2024, supplement; Alemohammad et al. 2024",
        cost="seconds",
        experiments={**GAUSSIAN, **UNBIASED},
        observable="squared error of the mean; squared 2-Wasserstein distance to the true distribution",
        expects="MLE: Var mu = 1 - (1 - 1/M)^n, E W2^2 = 2 (1 - c_M^n); unbiased: n/M and n/M + 2 (1 - c_4^n)",
        tolerance=STANDARD_ERRORS,
        judge=mean_drifts,
    ),
    Claim(
        id="C4",
        statement="If each generation is added to the data and nothing is discarded, the loss of variance is bounded.",
        source="Gerstgrasser et al. 2024, theorem 1; Dey & Donoho 2024",
        cost="seconds",
        experiments=GAUSSIAN,
        observable="variance and squared error of the mean",
        expects="E s_n^2 = prod (1 - 1/(j^2 M)), which is above sin(pi/sqrt M)/(pi/sqrt M); Var mu = 1 - E s_n^2",
        tolerance=STANDARD_ERRORS,
        judge=accumulation_is_bounded,
    ),
    Claim(
        id="C5",
        statement="Training on a fixed number of rows drawn from all data so far loses more than accumulation, less than replacement, "
        "and levels off.",
        source="Kazdan et al. 2024",
        cost="seconds",
        experiments={"gaussian-subsample": ["gaussian-subsample.yaml"]},
        observable="variance",
        expects="the product law of sampling without replacement; replace < subsample < accumulate",
        tolerance=STANDARD_ERRORS + "; here chains are seeds, because all replicates of a seed use the same drawn row indices",
        judge=subsampling_lies_between,
    ),
    Claim(
        id="C12",
        statement="Replacement keeps its variance only if the number of samples per generation grows faster than linearly.",
        source="Shumailov et al. 2024, supplement; Xu et al. 2025",
        cost="seconds",
        experiments={"gaussian-growth": ["gaussian-growth.yaml"]},
        observable="variance with M, M i and M i^2 rows at the i-th fit",
        expects="E s_n^2 = prod (1 - 1/M_i): exponential decay, decay like n^(-1/M), and a positive limit",
        tolerance=STANDARD_ERRORS,
        judge=growth_has_to_be_fast,
    ),
    Claim(
        id="C15",
        statement="Sampling closer to the mode speeds up collapse, and then accumulation does not fully protect.",
        source="Alemohammad et al. 2024; Gerstgrasser et al. 2024 (temperature 0.3)",
        cost="seconds",
        experiments=SHARPENED,
        observable="variance with sampling.variance_scale (lambda) 0.7 and 0.9, which multiplies the variance of the samples",
        expects="replace: lambda^(n-1) (1 - 1/M)^n; accumulate: ~ n^-(1 - lambda), to zero; fresh real rows: the recursion of the mixture",
        tolerance=STANDARD_ERRORS,
        judge=sharpness_speeds_collapse,
    ),
)
