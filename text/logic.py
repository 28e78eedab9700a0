"""A language whose every sentence can be checked: logic expressions over seven tokens that are true (after Briesch et al. 2023).

expression ──► True | False | ( not expression ) | ( expression and expression ) | ( expression or expression )
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field
from rapidfuzz.distance import Levenshtein

from ..common.components.metric import MetricInfo, MetricInputs
from ..common.core.pool import Pool
from ..common.core.random_streams import stream
from .data import split

TOKENS = ("True", "False", "(", ")", "not", "and", "or")
LITERAL, NOT = 0.4, 0.2
"""Chances of a literal and of a negation where both may stand; the rest are conjunctions and disjunctions."""


@dataclass(frozen=True)
class Logic:
    """Random true expressions, none twice, with at most `depth` operators inside each other; one expression a row."""

    rows: Annotated[int, Field(ge=2, le=100_000)] = 4_000
    """Expressions in all, held-out ones included."""
    depth: Annotated[int, Field(ge=3, le=8)] = 4
    seed: int = 0
    version: ClassVar[int] = 1
    modality: ClassVar[str] = "text"

    def __post_init__(self) -> None:
        if self.rows > (there := expressions(self.depth)[0]) // 10:
            raise ValueError(
                f"rows: depth {self.depth} has {there:,} true expressions; chance finds a tenth of them soon, not {self.rows:,}"
            )

    def load(self, *, eval_size: int) -> Mapping[str, Pool]:
        rng, found = stream(self.seed, "logic"), {}
        while len(found) < self.rows:
            expression = _expression(rng, self.depth, first=True)
            if meaning(expression) is True:
                found[" ".join(expression)] = None
        return split(list(found), eval_size=eval_size, where="data")


def _expression(rng: np.random.Generator, depth: int, *, first: bool = False) -> list[str]:
    """The tokens of a random expression; the first one is no literal."""
    draw = rng.random() if depth and not first else LITERAL + (1 - LITERAL) * rng.random() if depth else 0.0
    if draw < LITERAL:
        return [TOKENS[rng.integers(2)]]
    if draw < LITERAL + NOT:
        return ["(", "not", *_expression(rng, depth - 1), ")"]
    operator = ("and", "or")[rng.integers(2)]
    return ["(", *_expression(rng, depth - 1), operator, *_expression(rng, depth - 1), ")"]


def expressions(depth: int) -> tuple[int, int]:
    """How many true and how many false expressions there are with at most `depth` operators inside each other."""
    if depth == 0:
        return 1, 1
    true, false = expressions(depth - 1)
    pairs = (true + false) ** 2  # a literal, a negation, a conjunction, a disjunction:
    return 1 + false + true**2 + (pairs - false**2), 1 + true + (pairs - true**2) + false**2


def meaning(tokens: Sequence[str]) -> bool | None:
    """The truth of an expression; None for what is none. Reduces from the left with a stack, so any depth will do."""
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
    """Whether what was made are true expressions, and how different they are: token edit distance between pairs of rows.

    The distance is divided by the tokens of the longer of the two, so it lies between 0 (equal) and 1; each row is paired with the next.
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
        rows = [text.split() for text in inputs.generated.list("text")]
        found = [meaning(row) for row in rows]
        apart = [Levenshtein.normalized_distance(row, after) for row, after in zip(rows, rows[1:] + rows[:1], strict=True)]
        return {
            "valid_share": np.mean([truth is not None for truth in found]),
            "true_share": np.mean([truth is True for truth in found]),
            "edit_distance": np.mean(apart),
            "distinct_rows": len(set(map(tuple, rows))) / len(rows),
        }
