"""Metrics of repetition in generated text: within a row, between rows, and of the training text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from ..common.components.metric import MetricInfo, MetricInputs
from .words import ngrams, rows_of_words


@dataclass(frozen=True)
class Distinct:
    """Distinct-n: the share of distinct n-grams of words among all n-grams of the generated rows, n = 1, 2, 3 (Li et al. 2016).

    It falls with the amount of text, so compare equal numbers of rows. Rows of fewer than n words have no n-grams; without any n-gram
    the value is 0.
    """

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("text",)
    reads: ClassVar[tuple[str, ...]] = ("generated",)
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        f"distinct_{n}": MetricInfo("diversity", "share", True, "Li et al. 2016") for n in (1, 2, 3)
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        rows, values = rows_of_words(inputs.generated), {}
        for n in (1, 2, 3):
            grams = [gram for row in rows for gram in ngrams(row, n)]
            values[f"distinct_{n}"] = len(set(grams)) / max(1, len(grams))
        return values


@dataclass(frozen=True)
class Repetition:
    """Repetition within generated rows: share of a row's n-grams that occurred earlier in it, n = 2, 3, 4 (Welleck et al. 2020).

    The mean is over rows that have n-grams; it is 0 if no row has any. It does not depend on the number of rows, but increases with
    their length.
    """

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("text",)
    reads: ClassVar[tuple[str, ...]] = ("generated",)
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        f"repetition_{n}": MetricInfo("diversity", "share of n-grams in a row", False, "Welleck et al. 2020") for n in (2, 3, 4)
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        rows, values = rows_of_words(inputs.generated), {}
        for n in (2, 3, 4):
            repeated = [1 - len(set(grams)) / len(grams) for row in rows if (grams := ngrams(row, n))]
            values[f"repetition_{n}"] = float(np.mean(repeated)) if repeated else 0.0
        return values


@dataclass(frozen=True)
class SelfBLEU:
    """Self-BLEU: similarity of generated rows, as the mean BLEU of each row against all others (Zhu et al. 2018).

    Uses sacrebleu's sentence BLEU-4 with effective order (shorter rows are scored by the n-grams they have), exponential smoothing and
    the closest reference length. Its cost is quadratic, so only the first `max_rows` rows with words are compared; it increases with
    their number. With fewer than two such rows the value is 1.
    """

    max_rows: Annotated[int, Field(ge=2)] = 100
    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("text",)
    reads: ClassVar[tuple[str, ...]] = ("generated",)
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "self_bleu": MetricInfo("diversity", "BLEU against the other rows, 0 to 1", False, "Zhu et al. 2018"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        from sacrebleu.metrics.bleu import BLEU

        rows = [" ".join(row) for row in rows_of_words(inputs.generated) if row][: self.max_rows]
        if len(rows) < 2:
            return {"self_bleu": 1.0}
        bleu = BLEU(tokenize="none", smooth_method="exp", effective_order=True)
        scores = [bleu.sentence_score(row, [*rows[:place], *rows[place + 1 :]]).score for place, row in enumerate(rows)]
        return {"self_bleu": float(np.mean(scores)) / 100}


@dataclass(frozen=True)
class Overlap:
    """Verbatim copying: runs of words that generated rows share with the chain's real training pool.

    `verbatim_rows` is the share of generated rows that have at least `words` consecutive words in common with one real row.
    `longest_verbatim` is the mean length of the longest common run, capped at `longest` words. Case and punctuation are ignored. Both
    increase with the size of the pool. The floor shows the overlap between real rows.
    """

    words: Annotated[int, Field(ge=1)] = 8
    longest: Annotated[int, Field(ge=1)] = 32
    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("text",)
    reads: ClassVar[tuple[str, ...]] = ("generated", "pool")
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "verbatim_rows": MetricInfo("memorisation", "share of rows", False, "Carlini et al. 2021"),
        "longest_verbatim": MetricInfo("memorisation", "words", None, "McCoy et al. 2023"),
    }

    def __post_init__(self) -> None:
        if self.longest < self.words:
            raise ValueError(f"longest: {self.longest} must be at least words = {self.words}")

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        runs = longest_common_runs(rows_of_words(inputs.generated), rows_of_words(inputs.pool), longest=self.longest)
        return {"verbatim_rows": (runs >= self.words).mean(), "longest_verbatim": runs.mean()}


def longest_common_runs(generated: Sequence[Sequence[str]], real: Sequence[Sequence[str]], *, longest: int) -> np.ndarray:
    """Return the length in words of the longest run that each generated row shares with a real row, at most `longest`; int64 [generated].

    Two rows without a common run of n words have no longer one. So both sets of candidate rows shrink as n grows.
    """
    lengths = np.zeros(len(generated), dtype=np.int64)
    candidates = list(range(len(generated)))
    for n in range(1, longest + 1):
        grams = {gram for row in candidates for gram in ngrams(generated[row], n)}
        common_by_row = [grams.intersection(ngrams(row, n)) for row in real]
        real = [row for row, common in zip(real, common_by_row, strict=True) if common]
        common = set().union(*common_by_row)
        candidates = [row for row in candidates if not common.isdisjoint(ngrams(generated[row], n))]
        lengths[candidates] = n
    return lengths
