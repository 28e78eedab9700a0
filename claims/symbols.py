"""Claims about the extinction of rare symbols, tested with a table of counts (categorical model)."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ..analytic import laws
from ..analytic.data import zipf
from ..common.replication.claim import Claim, JudgeOutput, Rows, generation_figure, law_and_measured, law_curve, over_generations
from ..common.replication.schema import Check
from ..common.replication.statistical_checks import check_law_at_generations, check_same, estimate_at
from .gaussian import EARLY_AND_LATE, STANDARD_ERRORS

if TYPE_CHECKING:
    import pandas

CATEGORICAL = {"categorical": ["categorical.yaml"]}
M = 2000
HETEROZYGOSITY = 1 - float((zipf(1000, 1.0) ** 2).sum())
"""Heterozygosity of the true distribution: the probability that two draws differ."""
GENERATIONS_BY_COUNT = {1: (1, 3, 10), 2: (3, 10, 19), 3: (3, 10, 19), 5: (10, 19)}
"""Generations to check, by the count of a symbol in the real pool. At these generations survival is neither near 0 nor near 1."""


def _survival(generation: int, *, count: int) -> float:
    return 1 - laws.extinction(generation, count=count, size=M)


def _heterozygosity(generation: int, *, policy: str) -> float:
    law = {"replace": laws.replace_variance, "accumulate": laws.accumulate_variance}[policy]
    return HETEROZYGOSITY * law(generation, size=M)


def rare_symbols_die_first(rows: Rows) -> JudgeOutput:
    own, checks, curves = rows["categorical"], [], []
    for count, generations in GENERATIONS_BY_COUNT.items():
        law, rarer = partial(_survival, count=count), partial(_survival, count=count + 1)
        metric = f"survival/{count}"
        checks += check_law_at_generations(
            f"survival of symbols seen {count} times", own, metric, "replace", law, generations=generations, alternative=rarer
        )
        curves += law_and_measured(f"seen {count}", own, metric, "replace", law, generations=19)
    checks += _check_heterozygosity(own, "replace", alternative="accumulate")
    half_lives = ", ".join(f"{_half_life(own, count)} for symbols seen {count} times" for count in (2, 3, 5))
    note = f"Measured half-lives in generations: {half_lives}. The rule of 2.9 times the count holds for large counts."
    return JudgeOutput(checks, generation_figure("share of symbols that survive", curves), note)


def _check_heterozygosity(rows: pandas.DataFrame, policy: str, *, alternative: str) -> list[Check]:
    law, other = partial(_heterozygosity, policy=policy), partial(_heterozygosity, policy=alternative)
    return check_law_at_generations("heterozygosity", rows, "heterozygosity", policy, law, generations=EARLY_AND_LATE, alternative=other)


def _half_life(rows: pandas.DataFrame, count: int) -> str:
    """Return, as text, the interpolated generation at which half of the symbols seen `count` times are extinct."""
    curve = over_generations("", rows, f"survival/{count}", "replace")
    below_half = np.flatnonzero(np.array(curve.y) < 0.5)
    if not below_half.size:
        return f"more than {curve.x[-1]:g}"
    after = below_half[0]
    before = after - 1
    return f"{curve.x[before] + (curve.y[before] - 0.5) / (curve.y[before] - curve.y[after]):.1f}"


def accumulation_loses_no_symbol(rows: Rows) -> JudgeOutput:
    own = rows["categorical"]
    start = estimate_at(own, "support", "accumulate", 0).value
    checks = [
        check_same(
            f"share surviving of symbols seen {count} times, generation {generation}",
            estimate_at(own, f"survival/{count}", "accumulate", generation),
            1.0,
        )
        for count in (1, 2, 3)
        for generation in (19, 1)
    ]
    checks += _check_heterozygosity(own, "accumulate", alternative="replace")
    curves = [over_generations(policy, own, "support", policy) for policy in ("accumulate", "replace")]
    curves.append(law_curve("law: accumulate", lambda g: start, 19))
    return JudgeOutput(checks, generation_figure("symbols in the model", curves))


CLAIMS = (
    Claim(
        id="C13",
        statement="Rare symbols die first: the lifetime of a symbol is proportional to its count in the data.",
        source="Shumailov et al. 2024 (Markov chain); Suresh et al. 2024",
        cost="seconds",
        experiments=CATEGORICAL,
        observable="surviving share of the symbols seen 1, 2, 3 and 5 times in the real pool; heterozygosity 1 - sum p^2",
        expects="the Wright-Fisher chain, 1 - q_k^c for many rows with q_{k+1} = exp(q_k - 1); H_n = H (1 - 1/M)^n",
        tolerance=STANDARD_ERRORS + "; the alternative is the law of symbols seen once more",
        judge=rare_symbols_die_first,
    ),
    Claim(
        id="C14",
        statement="Accumulation never loses a symbol it has seen, and bounds the loss of diversity.",
        source="Shumailov et al. 2024 with Gerstgrasser et al. 2024; derived here",
        cost="seconds",
        experiments=CATEGORICAL,
        observable="survival of symbols, heterozygosity",
        expects="every seen symbol survives in every chain; H_n = H prod (1 - 1/(j^2 M))",
        tolerance="survival: exactly 1; heterozygosity: " + STANDARD_ERRORS,
        judge=accumulation_loses_no_symbol,
    ),
)
