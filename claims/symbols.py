"""Claims that a table of counts settles: which symbols die out, and when."""

from __future__ import annotations

import numpy as np

from ..analytic import laws
from ..analytic.data import zipf
from ..common.replication.claim import Claim, Figure, JudgeOutput, Rows, law_curve, over_generations
from ..common.replication.statistical_checks import at, follows, same
from .gaussian import EARLY_AND_LATE, STANDARD_ERRORS

CATEGORICAL = {"categorical": ["categorical.yaml"]}
M = 2000
H = 1 - float((zipf(1000, 1.0) ** 2).sum())
"""The truth's heterozygosity."""
FOLLOWED = {1: (1, 3, 10), 2: (3, 10, 19), 3: (3, 10, 19), 5: (10, 19)}
"""Generations at which the survival of symbols seen so often is neither near 0 nor near 1."""


def rare_symbols_die_first(rows: Rows) -> JudgeOutput:
    own, checks, curves = rows["categorical"], [], []
    for seen, generations in FOLLOWED.items():
        law = lambda g, seen=seen: 1 - laws.extinction(g, count=seen, size=M)  # noqa: E731
        rarer = lambda g, seen=seen: 1 - laws.extinction(g, count=seen + 1, size=M)  # noqa: E731
        checks += follows(
            f"survival of symbols seen {seen} times", own, f"survival/{seen}", "replace", law, at_generations=generations, rival=rarer
        )
        curves += [
            law_curve(f"law: seen {seen}", law, 19),
            over_generations(f"measured: seen {seen}", own, f"survival/{seen}", "replace"),
        ]
    checks += follows("heterozygosity", own, "heterozygosity", "replace", lambda g: H * laws.replace_variance(g, size=M),
                      at_generations=EARLY_AND_LATE, rival=lambda g: H * laws.accumulate_variance(g, size=M))  # fmt: skip
    lives = ", ".join(f"{_half_life(own, seen)} for symbols seen {seen} times" for seen in (2, 3, 5))
    note = f"Measured half-lives in generations: {lives} (the rule of 2.9 times the count is for large counts)."
    return JudgeOutput(checks, Figure("generation", "share of symbols that survive", curves), note)


def _half_life(rows, seen: int) -> str:
    """The generation, interpolated, at which half of the symbols seen so often are gone."""
    found = over_generations("", rows, f"survival/{seen}", "replace")
    below_half = np.flatnonzero(np.array(found.y) < 0.5)
    if not below_half.size:
        return f"more than {found.x[-1]}"
    after = below_half[0]
    return f"{found.x[after - 1] + (found.y[after - 1] - 0.5) / (found.y[after - 1] - found.y[after]):.1f}"


def accumulation_loses_no_symbol(rows: Rows) -> JudgeOutput:
    own = rows["categorical"]
    start = at(own, "support", "accumulate", 0)
    law = lambda g: H * laws.accumulate_variance(g, size=M)  # noqa: E731
    checks = [same(f"share surviving of symbols seen {seen} times, generation {g}", at(own, f"survival/{seen}", "accumulate", g), 1.0)
              for seen in (1, 2, 3) for g in (19, 1)]  # fmt: skip
    checks += follows("heterozygosity", own, "heterozygosity", "accumulate", law, at_generations=EARLY_AND_LATE,
                      rival=lambda g: H * laws.replace_variance(g, size=M))  # fmt: skip
    curves = [over_generations(policy, own, "support", policy) for policy in ("accumulate", "replace")]
    curves.append(law_curve("law: accumulate", lambda g: start.value, 19))
    return JudgeOutput(checks, Figure("generation", "symbols in the model", curves))


CLAIMS = (
    Claim(
        id="C13",
        says="The rare dies first: how long a symbol lives is proportional to how often it was seen.",
        source="Shumailov et al. 2024 (Markov chain); Suresh et al. 2024",
        cost="seconds",
        experiments=CATEGORICAL,
        observable="share still alive of the symbols seen 1, 2, 3, 5 times in the real pool; heterozygosity 1 - sum p^2",
        expects="the Wright-Fisher chain, 1 - q_k^c for many rows with q_{k+1} = exp(q_k - 1); H_n = H (1 - 1/M)^n",
        tolerance=STANDARD_ERRORS + "; the rival is the law of symbols seen once more",
        judge=rare_symbols_die_first,
    ),
    Claim(
        id="C14",
        says="Accumulation never loses a symbol it has seen, and bounds the loss of diversity.",
        source="Shumailov et al. 2024 with Gerstgrasser et al. 2024; derived here",
        cost="seconds",
        experiments=CATEGORICAL,
        observable="survival of symbols, heterozygosity",
        expects="every seen symbol survives in every chain; H_n = H prod (1 - 1/(j^2 M))",
        tolerance="survival exactly; heterozygosity: " + STANDARD_ERRORS,
        judge=accumulation_loses_no_symbol,
    ),
)
