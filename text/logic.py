"""An artificial language with a checkable meaning: true logic expressions over seven tokens (after Briesch et al. 2023).

expression ──► True | False | ( not expression ) | ( expression and expression ) | ( expression or expression )
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from ..common.components.metric import MetricInfo, MetricInputs
from ..common.core.pool import Pool
from ..common.core.random_streams import stream
from .data import split

TOKENS = ("True", "False", "(", ")", "not", "and", "or")
LITERAL, NOT = 0.4, 0.2
"""Probabilities of a literal and of a negation where both are allowed. The rest is split evenly between `and` and `or`."""


@dataclass(frozen=True)
class Logic:
    """Random distinct true logic expressions, one per row, with operators nested at most `depth` deep."""

    rows: Annotated[int, Field(ge=2, le=100_000)] = 4_000
    """Number of expressions in all splits together."""
    depth: Annotated[int, Field(ge=3, le=8)] = 4
    seed: int = 0
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "text"

    def __post_init__(self) -> None:
        n_true, _ = count_expressions(self.depth)
        if self.rows > n_true // 10:
            raise ValueError(
                f"rows: {self.rows:,}, but random search finds at most a tenth of the {n_true:,} true expressions of depth {self.depth}; "
                f"use rows <= {n_true // 10:,} or a larger depth"
            )

    def load(self, *, eval_size: int) -> Mapping[str, Pool]:
        rng = stream(self.seed, "logic")
        texts: dict[str, None] = {}  # a set that keeps the order
        while len(texts) < self.rows:
            expression = _random_expression(rng, self.depth, outermost=True)
            if truth_value(expression) is True:
                texts[" ".join(expression)] = None
        return split(list(texts), eval_size=eval_size, where="data")


def _random_expression(rng: np.random.Generator, depth: int, *, outermost: bool = False) -> list[str]:
    """Return the tokens of a random expression. The outermost expression is never a single literal."""
    if depth == 0:
        draw = 0.0
    elif outermost:
        draw = LITERAL + (1 - LITERAL) * rng.random()
    else:
        draw = rng.random()
    if draw < LITERAL:
        return [TOKENS[rng.integers(2)]]
    if draw < LITERAL + NOT:
        return ["(", "not", *_random_expression(rng, depth - 1), ")"]
    operator = ("and", "or")[rng.integers(2)]
    return ["(", *_random_expression(rng, depth - 1), operator, *_random_expression(rng, depth - 1), ")"]


def count_expressions(depth: int) -> tuple[int, int]:
    """Return the number of true and of false expressions with operators nested at most `depth` deep."""
    if depth == 0:
        return 1, 1
    true, false = count_expressions(depth - 1)
    pairs = (true + false) ** 2  # terms of the sums below: literal, negation, conjunction, disjunction
    return 1 + false + true**2 + (pairs - false**2), 1 + true + (pairs - true**2) + false**2


def truth_value(tokens: Sequence[str]) -> bool | None:
    """The truth value of an expression, or None if the tokens are not an expression. Uses a stack, so nesting depth is not limited."""
    stack: list[str | bool] = []
    for token in tokens:
        if token in ("True", "False"):
            stack.append(token == "True")
        elif token != ")":
            stack.append(token)
        else:
            match stack[-4:]:
                case [*_, "(", "not", bool(only)]:
                    del stack[-3:]
                    stack.append(not only)
                case ["(", bool(left), "and" | "or" as operator, bool(right)]:
                    del stack[-4:]
                    stack.append(left and right if operator == "and" else left or right)
                case _:
                    return None
    return stack[0] if len(stack) == 1 and isinstance(stack[0], bool) else None


@dataclass(frozen=True)
class Grammar:
    """Share of generated rows that are valid and true logic expressions, and their diversity as token edit distance.

    Each row is compared with the next one. The distance is divided by the length of the longer row, so it is between 0 (equal) and 1.
    """

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("text",)
    reads: ClassVar[tuple[str, ...]] = ("generated",)
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "valid_share": MetricInfo("fidelity", "share of rows that are expressions", True, "Briesch et al. 2023"),
        "true_share": MetricInfo("fidelity", "share of rows that are true expressions", True, "Briesch et al. 2023"),
        "edit_distance": MetricInfo("diversity", "share of tokens", True, "Levenshtein 1966; Briesch et al. 2023"),
        "distinct_rows": MetricInfo("diversity", "share of rows", True, "Briesch et al. 2023"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        from rapidfuzz.distance import Levenshtein

        rows = [text.split() for text in inputs.generated.list("text")]
        values = [truth_value(row) for row in rows]
        distances = [Levenshtein.normalized_distance(row, after) for row, after in zip(rows, rows[1:] + rows[:1], strict=True)]
        return {
            "valid_share": sum(value is not None for value in values) / len(values),
            "true_share": sum(value is True for value in values) / len(values),
            "edit_distance": float(np.mean(distances)),
            "distinct_rows": len(set(map(tuple, rows))) / len(rows),
        }
