"""Claims about kernel density estimates, which are wider than their data."""

from __future__ import annotations

from ..analytic import laws
from ..common.replication.claim import Claim, Contradiction, Curve, Figure, JudgeOutput, Rows, law_curve, over_generations
from ..common.replication.statistical_checks import Estimate, above, at, equals, follows
from .gaussian import BIAS, EARLY_AND_LATE, SCALES, STANDARD_ERRORS

KDE = {"kde": ["kde.yaml"]}
M, H = 50, 0.2


def kernels_widen(rows: Rows) -> JudgeOutput:
    own, checks, curves = rows["kde"], [], []
    start = laws.kde_variance(0, size=M, bandwidth=H)
    for policy in ("replace", "accumulate"):
        law = lambda g, policy=policy: laws.kde_variance(g, size=M, bandwidth=H, policy=policy)  # noqa: E731
        checks += follows(f"{policy}: E variance", own, "variance", policy, law, at_generations=EARLY_AND_LATE, rival=lambda g: start)
        curves += [law_curve(f"law: {policy}", law, 19), over_generations(f"measured: {policy}", own, "variance", policy)]
    return JudgeOutput(checks, Figure("generation", "variance of the density", curves))


def accumulation_is_not_universal(rows: Rows) -> JudgeOutput:
    """Two loops under `accumulate` that leave where they began, and go on leaving in the second half."""
    kde, checks, curves = rows["kde"], [], []
    widened = lambda g: at(kde, "variance", "accumulate", g)  # noqa: E731
    checks.append(above("KDE: variance gained from generation 9 to 19", widened(19) - widened(9)))
    bounded = laws.accumulate_variance
    for scale, name in SCALES.items():
        found = at(rows[name], "variance", "accumulate", 19)
        ratio = found / at(rows[name], "variance", "accumulate", 9)
        law = bounded(19, size=M, scale=scale) / bounded(9, size=M, scale=scale)
        checks.append(
            equals(f"lambda {scale}: variance of generation 19 over that of 9", ratio, law, rival=bounded(19, size=M) / bounded(9, size=M))
        )
        checks.append(above(f"lambda {scale}: below the bound of unbiased sampling by", _less(laws.accumulate_limit(size=M), found)))
        curves.append(over_generations(f"λ {scale}", rows[name], "variance", "accumulate"))
    curves.append(over_generations("KDE", kde, "variance", "accumulate"))
    curves.append(Curve("bound of unbiased sampling", [0, 19], [laws.accumulate_limit(size=M)] * 2, law=True))
    return JudgeOutput(checks, Figure("generation", "variance under accumulate", curves))


def _less(value: float, found: Estimate) -> Estimate:
    return Estimate(value - found.value, found.error, found.chains, found.freedom)


CLAIMS = (
    Claim(
        id="C16",
        says="A kernel density estimate widens without end under replacement, and like the logarithm under accumulation.",
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
        says="Accumulation does not protect every model: some go on degrading.",
        source="Barzilai & Shamir 2025; Kazdan et al. 2024; Alemohammad et al. 2024",
        cost="seconds",
        experiments={**KDE, **BIAS},
        observable="variance under accumulate: of kernel density estimates, and of Gaussians with sharpened samples",
        expects="still changing in the second half, beyond what unbiased sampling could lose",
        tolerance="clear of 0 by 95 %; laws: " + STANDARD_ERRORS,
        judge=accumulation_is_not_universal,
    ),
)

CONTRADICTIONS = (
    Contradiction(
        "Does accumulating avoid collapse?",
        (
            ("It does: the loss is bounded by pi^2/6 times that of one fit (Gerstgrasser et al. 2024).", ["C4", "C10", "C14", "C20"]),
            (
                "Not always: with sharpened samples, or a model that widens or smooths its data (why C20b fails), it goes on degrading "
                "(Kazdan et al. 2024; Barzilai & Shamir 2025).",
                ["C15", "C16", "C20b", "C26"],
            ),
        ),
        "Whether a fit reproduces its data on average. Unbiased sampling from a maximum-likelihood fit adds errors that fall as 1/j^2 and "
        "have a finite sum; a bias of the sampler or of the family adds its share in every generation, 1/j, and that sum has no end.",
    ),
)
