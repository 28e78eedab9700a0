"""What is read off generated text; what repeats in it stands in `repetition`.

Words are runs of letters, digits and apostrophes, lower-cased, whatever the tokenizer.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field
from scipy.optimize import minimize_scalar

from ..common.components.frequency_bins import FREQUENCY, by_frequency, frequency_outputs
from ..common.components.metric import MetricInfo, MetricInputs
from ..common.core.errors import UserError
from ..common.core.pool import Pool

BINS = [f"{edge:04.1f}" for edge in np.arange(0, 12.5, 0.5)]
"""Lower edges of the bins of nats per token; the last takes all above."""
EXPONENTS = (0.0, 10.0)
"""Bounds of a Zipf exponent: all words equally common; the second a thousandth of the first."""


def words(text: str) -> list[str]:
    """The words of a text."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower())


def ngrams(row: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """The runs of n words in a row of words; none where it is shorter."""
    return list(zip(*(row[shift:] for shift in range(n)), strict=False))


@dataclass(frozen=True)
class Perplexity:
    """How well the model predicts real text it never saw. Bits per byte compare models with different tokenizers.

    Means are over all tokens (bytes) of the held-out rows; the perplexity is the exponential of the mean, taken last.
    """

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("text",)
    reads: ClassVar[tuple[str, ...]] = ("model", "heldout")
    abilities: ClassVar[tuple[str, ...]] = ("score", "tokens")
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "heldout_nll": MetricInfo("likelihood", "nats per token", False, "Shumailov et al. 2024"),
        "heldout_perplexity": MetricInfo("likelihood", "effective choices per token", False, "Jelinek et al. 1977"),
        "bits_per_byte": MetricInfo("likelihood", "bits per UTF-8 byte", False, "Gao et al. 2020, sec. 3.1"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        nats = inputs.model.score(inputs.heldout).sum()
        n_bytes = sum(len(text.encode()) for text in inputs.heldout.list("text"))
        nll = nats / inputs.model.tokens(inputs.heldout).sum()
        return {"heldout_nll": nll, "heldout_perplexity": np.exp(nll), "bits_per_byte": nats / np.log(2) / n_bytes}


@dataclass(frozen=True)
class Continuation:
    """How well the model continues real text it never saw: the second half of each held-out row, given the first.

    Rows are cut before the space that leads to their middle word, so that the tokens of the first half are tokens of the row; by the chain
    rule the second half then costs what the row costs beyond its first half. Rows of one word count in full, after nothing.
    """

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("text",)
    reads: ClassVar[tuple[str, ...]] = ("model", "heldout")
    abilities: ClassVar[tuple[str, ...]] = ("score", "tokens")
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "continuation_nll": MetricInfo("likelihood", "nats per token", False, "Shumailov et al. 2024"),
        "continuation_bits_per_byte": MetricInfo("likelihood", "bits per UTF-8 byte", False, "Gao et al. 2020, sec. 3.1"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        model, rows = inputs.model, inputs.heldout.list("text")
        firsts = [first_half(text) for text in rows]
        whole, given = Pool.of(text=rows), Pool.of(text=firsts)
        nats = model.score(whole).sum() - model.score(given).sum()
        n_tokens = model.tokens(whole).sum() - model.tokens(given).sum()
        n_bytes = sum(len(text.encode()) - len(first.encode()) for text, first in zip(rows, firsts, strict=True))
        return {"continuation_nll": nats / n_tokens, "continuation_bits_per_byte": nats / np.log(2) / n_bytes}


def first_half(text: str) -> str:
    """A text up to its middle word, without the space before that."""
    ends = [0, *(word.end() for word in re.finditer(r"\S+", text))]
    return text[: ends[(len(ends) - 1) // 2]]


@dataclass(frozen=True)
class BasePerplexity:
    """How likely an earlier model finds what was made (Shumailov et al. 2024, fig. 1): the mean, the unlikely tail and the histogram.

    Likelier than real text means the model's favourites have taken over; a growing upper tail means text that no model of
    real data would write. `samples_nll_share/BB` is the share of rows from BB nats per token to the next bin. Rows without a
    token say nothing; a pool without any counts as 0.
    """

    by: Literal["base", "first"] = "base"
    """Which model: the one that fine-tuning starts from (generation 0's where there is none), or generation 0's."""
    version: ClassVar[int] = 2
    columns: ClassVar[tuple[str, ...]] = ("text",)
    abilities: ClassVar[tuple[str, ...]] = ("score", "tokens")
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "samples_nll": MetricInfo("likelihood", "nats per token under an earlier model", None, "Shumailov et al. 2024, fig. 1"),
        "samples_nll_p95": MetricInfo("tail", "nats per token under an earlier model", None, "Shumailov et al. 2024, fig. 1"),
        "samples_nll_share": MetricInfo("tail", "share of rows", None, "Shumailov et al. 2024, fig. 1"),
    }

    @property
    def reads(self) -> tuple[str, ...]:
        return (self.by, "generated")

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        judge = inputs.base if self.by == "base" else inputs.first
        nats, tokens = judge.score(inputs.generated), judge.tokens(inputs.generated)
        some = tokens > 0
        each = nats[some] / tokens[some] if some.any() else np.zeros(1)
        bins = np.searchsorted([float(edge) for edge in BINS], each.clip(0), side="right") - 1  # a sure token may round to just below 0
        shares = np.bincount(bins, minlength=len(BINS)) / len(each)
        return {
            "samples_nll": nats.sum() / max(1, tokens.sum()),
            "samples_nll_p95": np.quantile(each, 0.95),
            **{f"samples_nll_share/{name}": share for name, share in zip(BINS, shares, strict=True)},
        }


@dataclass(frozen=True)
class TrainSyntheticTestReal:
    """What can be learned from the made rows: an n-gram model trained on nothing else, on real text it never saw.

    Train on synthetic, test on real; for text, "reverse perplexity" (Zhao et al. 2018). The student has a tokenizer of its own, made
    from the made rows too. It needs both good and varied rows, and more of them help: only comparable at the same number of rows.
    """

    order: Annotated[int, Field(ge=1, le=5)] = 3
    vocabulary: Annotated[int, Field(ge=257, le=6000)] = 2048
    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("text",)
    reads: ClassVar[tuple[str, ...]] = ("generated", "heldout")
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "student_bits_per_byte": MetricInfo("fidelity", "bits per UTF-8 byte", False, "Zhao et al. 2018; Ravuri & Vinyals 2019"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        from .ngram import NGram

        longest = max(len(text.encode()) for text in inputs.generated.list("text"))  # a token has a byte at least: no row is cut
        student = NGram(order=self.order, vocabulary=self.vocabulary, context=longest + 2, prompt_tokens=1)
        with TemporaryDirectory() as scratch:
            student.fit(inputs.generated, seed=0, scratch=Path(scratch))
        n_bytes = sum(len(text.encode()) for text in inputs.heldout.list("text"))
        return {"student_bits_per_byte": student.score(inputs.heldout).sum() / np.log(2) / n_bytes}


@dataclass(frozen=True)
class Vocabulary:
    """What became of the words of the real pool: all of them, and the rare ones, which go first.

    Entropy is that of the made words. `vocabulary_kept` is the share of the real rows' word types that the made rows
    use, `rare_recall` the same for types the real rows use at most `rare` times. The made pool is as large as the real
    one, and real control rows do not reach 1 either: the floor says how far they get.
    """

    rare: Annotated[int, Field(ge=1)] = 2
    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("text",)
    reads: ClassVar[tuple[str, ...]] = ("generated", "real")
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "word_entropy": MetricInfo("diversity", "nats", True, "Guo et al. 2024"),
        "vocabulary_kept": MetricInfo("tail", "share of word types", True, "Guo et al. 2024"),
        "rare_recall": MetricInfo("tail", "share of rare word types", True, "Shumailov et al. 2024"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        generated, real = _counts(inputs.generated), _counts(inputs.real)
        rare = [word for word, count in real.items() if count <= self.rare]
        total = max(1, generated.total())
        return {
            "word_entropy": -sum(count / total * np.log(count / total) for count in generated.values()),
            "vocabulary_kept": _share(real, generated),
            "rare_recall": _share(rare, generated),
        }


@dataclass(frozen=True)
class WordFrequency:
    """What became of common and of rare words, by tenths of the real rows' words: group 01 holds the commonest word types, 10 the
    rarest, each as much of the real text as any other."""

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("text",)
    reads: ClassVar[tuple[str, ...]] = ("generated", "real")
    outputs: ClassVar[Mapping[str, MetricInfo]] = FREQUENCY

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        return by_frequency(_counts(inputs.real), _counts(inputs.generated), by_mass=True)


@dataclass(frozen=True)
class NGramFrequency:
    """What became of common and of rare runs of `n` words, in tenths as for words. Most n-grams occur once even in real text, so
    few of the rarest return in other real rows: the floor says how many."""

    n: Annotated[int, Field(ge=1)] = 2
    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("text",)
    reads: ClassVar[tuple[str, ...]] = ("generated", "real")
    outputs: ClassVar[Mapping[str, MetricInfo]] = frequency_outputs("ngram")

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        real, generated = (
            Counter(" ".join(gram) for text in pool.list("text") for gram in ngrams(words(text), self.n))
            for pool in (inputs.real, inputs.generated)
        )
        if not real:
            raise UserError(f"metrics: 'ngram-frequency' with n = {self.n} finds no real row of so many words")
        return by_frequency(real, generated, by_mass=True, name="ngram")


@dataclass(frozen=True)
class Zipf:
    """The exponent s of Zipf's law, by maximum likelihood: the word type of rank r makes up r^-s / (1^-s + ... + V^-s) of all words.

    It says how steeply words get rarer; for much English text it is near 1. It depends on how much text there is, so compare it at
    the same number of rows. Where there are not two word types there is no slope: 0.
    """

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("text",)
    reads: ClassVar[tuple[str, ...]] = ("generated",)
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "zipf_exponent": MetricInfo("tail", "exponent", None, "Zipf 1935; Clauset et al. 2009"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        counts = np.array(sorted(_counts(inputs.generated).values(), reverse=True), dtype=np.float64)
        return {"zipf_exponent": zipf_exponent(counts)}


def zipf_exponent(counts: np.ndarray) -> float:
    """Maximum-likelihood Zipf exponent of counts [V], the largest first, within EXPONENTS; 0 for fewer than two."""
    if len(counts) < 2:
        return 0.0
    log_rank = np.log(np.arange(1, len(counts) + 1))
    mean_log_rank = counts @ log_rank / counts.sum()
    nats_per_word = lambda s: s * mean_log_rank + np.log(np.exp(-s * log_rank).sum())  # noqa: E731
    return float(minimize_scalar(nats_per_word, bounds=EXPONENTS, method="bounded", options={"xatol": 1e-8}).x)


def _counts(pool: Pool) -> Counter[str]:
    return Counter(word for text in pool.list("text") for word in words(text))


def _share(wanted: Mapping[str, int] | list[str], found: Counter[str]) -> float:
    return sum(word in found for word in wanted) / max(1, len(wanted))
