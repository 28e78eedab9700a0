"""Claims tested with kernel density estimates, a model family whose fits are wider than the data."""

from __future__ import annotations

from functools import partial

from ..analytic import laws
from ..common.replication.claim import (
    Claim,
    JudgeOutput,
    Rows,
    generation_figure,
    law_and_measured,
    law_points,
    over_generations,
)
from ..common.replication.schema import Contradiction
from ..common.replication.statistical_checks import check_above, check_equals, check_law_at_generations, estimate_at
from .gaussian import EARLY_AND_LATE, SHARPENED, STANDARD_ERRORS, VARIANCE_SCALES

KDE = {"kde": ["kde.yaml"]}
M, BANDWIDTH = 50, 0.2


def kernels_widen(rows: Rows) -> JudgeOutput:
    own, checks, curves = rows["kde"], [], []
    start = laws.kde_variance(0, size=M, bandwidth=BANDWIDTH)
    for policy in ("replace", "accumulate"):
        law = partial(laws.kde_variance, size=M, bandwidth=BANDWIDTH, policy=policy)
        checks += check_law_at_generations(
            f"{policy}: E variance", own, "variance", policy, law, generations=EARLY_AND_LATE, alternative=lambda g: start
        )
        curves += law_and_measured(policy, own, "variance", policy, law, generations=19)
    return JudgeOutput(checks, generation_figure("variance of the density", curves))


def accumulation_is_not_universal(rows: Rows) -> JudgeOutput:
    """Judge C26: checks that two models still drift under `accumulate` in the second half of the run."""
    kde, limit = rows["kde"], laws.accumulate_limit(size=M)
    gain = estimate_at(kde, "variance", "accumulate", 19) - estimate_at(kde, "variance", "accumulate", 9)
    checks, curves = [check_above("KDE: variance gained from generation 9 to 19", gain)], []
    law = partial(laws.accumulate_variance, size=M)
    for scale, name in VARIANCE_SCALES.items():
        last = estimate_at(rows[name], "variance", "accumulate", 19)
        ratio = last / estimate_at(rows[name], "variance", "accumulate", 9)
        expected, unbiased = law(19, scale=scale) / law(9, scale=scale), law(19) / law(9)
        label = f"variance_scale {scale}"
        checks.append(check_equals(f"{label}: variance of generation 19 / generation 9", ratio, expected, alternative=unbiased))
        checks.append(check_above(f"{label}: limit of unbiased sampling - variance of generation 19", limit - last))
        curves.append(over_generations(label, rows[name], "variance", "accumulate"))
    curves.append(over_generations("KDE", kde, "variance", "accumulate"))
    curves.append(law_points("limit of unbiased sampling", (0, 19), lambda g: limit))
    return JudgeOutput(checks, generation_figure("variance under accumulate", curves))


CLAIMS = (
    Claim(
        id="C16",
        statement="A kernel density estimate widens without limit under replacement, and logarithmically under accumulation.",
        source="Kazdan et al. 2024",
        cost="seconds",
        experiments=KDE,
        observable="variance of the estimated density",
        expects="replace: v' = (1 - 1/M)(v + h^2), towards (M - 1) h^2; accumulate: + h^2 ln n",
        tolerance=STANDARD_ERRORS,
        judge=kernels_widen,
    ),
    Claim(
        id="C26",
        statement="Accumulation does not protect every model: some keep degrading.",
        source="Barzilai & Shamir 2025; Kazdan et al. 2024; Alemohammad et al. 2024",
        cost="seconds",
        experiments={**KDE, **SHARPENED},
        observable="variance under accumulate: of kernel density estimates, and of Gaussians with sampling.variance_scale 0.7 and 0.9",
        expects="the variance still changes in the second half of the run, and changes more than is possible with unbiased sampling",
        tolerance="95 % interval excludes 0; laws: " + STANDARD_ERRORS,
        judge=accumulation_is_not_universal,
    ),
)

CONTRADICTIONS = (
    Contradiction(
        question="Does accumulating avoid collapse?",
        sides=[
            (
                "Yes: the loss is bounded by pi^2/6 times that of one fit (Gerstgrasser et al. 2024).",
                ["C4", "C10", "C14", "C20"],
            ),
            (
                "Not always: the model keeps degrading if samples are sharpened or if it widens or smooths its data, the reason why C20b "
                "fails (Kazdan et al. 2024; Barzilai & Shamir 2025).",
                ["C15", "C16", "C20b", "C26"],
            ),
        ],
        decided_by="The bias of sampling and of the model family. Unbiased sampling from a maximum-likelihood fit adds errors that fall as "
        "1/j^2 and have a finite sum. A bias of the sampler or of the model family adds a share of 1/j in every generation, and that sum "
        "is unbounded.",
    ),
)
