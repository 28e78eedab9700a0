"""What repeats in generated text: within a row, from row to row, and from the rows that were trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from ..common.components.metric import MetricInfo, MetricInputs
from ..common.core.pool import Pool
from .metrics import ngrams, words


def rows_of_words(pool: Pool) -> list[list[str]]:
    """The words of every row."""
    return [words(text) for text in pool.list("text")]


@dataclass(frozen=True)
class Distinct:
    """Share of distinct n-grams of words among all n-grams of the rows, for n = 1, 2, 3 (Li et al. 2016).

    It falls with the amount of text, so it is only comparable at the same number of rows. Rows too short for an n-gram
    give none; a pool without any counts as 0.
    """

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("text",)
    reads: ClassVar[tuple[str, ...]] = ("generated",)
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        f"distinct_{n}": MetricInfo("diversity", "share", True, "Li et al. 2016") for n in (1, 2, 3)
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        rows = rows_of_words(inputs.generated)
        found = {}
        for n in (1, 2, 3):
            grams = [gram for row in rows for gram in ngrams(row, n)]
            found[f"distinct_{n}"] = len(set(grams)) / max(1, len(grams))
        return found


@dataclass(frozen=True)
class Repetition:
    """How much each row repeats itself: the share of its n-grams of words that it has had before, for n = 2, 3, 4 (Welleck et al. 2020).

    Averaged over the rows that have n-grams; where there are none, nothing repeats: 0. It does not depend on the number of rows, but
    grows with their length.
    """

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("text",)
    reads: ClassVar[tuple[str, ...]] = ("generated",)
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        f"repetition_{n}": MetricInfo("diversity", "share of n-grams in a row", False, "Welleck et al. 2020") for n in (2, 3, 4)
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        rows, found = rows_of_words(inputs.generated), {}
        for n in (2, 3, 4):
            repeated = [1 - len(set(grams)) / len(grams) for row in rows if (grams := ngrams(row, n))]
            found[f"repetition_{n}"] = np.mean(repeated) if repeated else 0.0
        return found


@dataclass(frozen=True)
class SelfBLEU:
    """How alike made rows are: BLEU of each with all the others as references, averaged (Zhu et al. 2018).

    sacrebleu's BLEU-4 of a sentence: effective order (rows of fewer than four words are judged by the n-grams they have), exponential
    smoothing, brevity against the nearest length; words as everywhere here. It costs the square of the rows, so only the first
    `max_rows` that have words are looked at, and it rises with their number. Where there are not two of them nothing varies: 1.
    """

    max_rows: Annotated[int, Field(ge=2)] = 100
    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("text",)
    reads: ClassVar[tuple[str, ...]] = ("generated",)
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "self_bleu": MetricInfo("diversity", "BLEU against the other rows, 0 to 1", False, "Zhu et al. 2018"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        from sacrebleu.metrics import BLEU

        rows = [" ".join(row) for row in rows_of_words(inputs.generated) if row][: self.max_rows]
        if len(rows) < 2:
            return {"self_bleu": 1.0}
        bleu = BLEU(tokenize="none", smooth_method="exp", effective_order=True)
        scores = [bleu.sentence_score(row, [*rows[:place], *rows[place + 1 :]]).score for place, row in enumerate(rows)]
        return {"self_bleu": np.mean(scores) / 100}


@dataclass(frozen=True)
class Overlap:
    """How much of what was made stands word for word in the real pool that the chain was trained on.

    `verbatim_rows`: rows with a run of `words` words from one real row. `longest_verbatim`: the longest such run of a row, of at most
    `longest` words. Neither case nor punctuation hides a copy. Both rise with the size of the pool; the floor says what other real
    rows share with it.
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
            raise ValueError(f"longest: runs of at most {self.longest} words never reach words = {self.words}")

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        runs = longest_runs(rows_of_words(inputs.generated), rows_of_words(inputs.pool), longest=self.longest)
        return {"verbatim_rows": (runs >= self.words).mean(), "longest_verbatim": runs.mean()}


def longest_runs(generated: Sequence[Sequence[str]], real: Sequence[Sequence[str]], *, longest: int) -> np.ndarray:
    """Words in the longest run that each made row shares with some real row, at most `longest`; int64 [made].

    Rows that share no run of n words share no longer one: both sides shrink as n grows.
    """
    found = np.zeros(len(generated), dtype=np.int64)
    alive = range(len(generated))
    for n in range(1, longest + 1):
        wanted = {gram for row in alive for gram in ngrams(generated[row], n)}
        there = [wanted.intersection(ngrams(row, n)) for row in real]
        real = [row for row, shared in zip(real, there, strict=True) if shared]
        known = set().union(*there)
        alive = [row for row in alive if not known.isdisjoint(ngrams(generated[row], n))]
        found[alive] = n
    return found
