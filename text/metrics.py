"""Metrics of generated text: likelihoods, train-on-synthetic test-on-real, and the use of common and rare words.

Metrics of repetition and of copying are in `repetition.py`. Words are defined in `words.py`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, ClassVar, Literal

import numpy as np
from pydantic import Field

from ..common.components.frequency_bins import FREQUENCY, by_frequency, frequency_outputs
from ..common.components.metric import MetricInfo, MetricInputs
from ..common.core.errors import UserError
from ..common.core.pool import Pool
from .words import ngram_counts, word_counts

NLL_BINS = [f"{edge:04.1f}" for edge in np.arange(0, 12.5, 0.5)]
"""Lower edges of the histogram bins, in nats per token. The last bin has no upper edge."""
EXPONENT_BOUNDS = (0.0, 10.0)
"""Range of a Zipf exponent. At 0 all words are equally common; at 10 the second word is a thousandth as common as the first."""


@dataclass(frozen=True)
class Perplexity:
    """Perplexity of held-out text under the generation's model, with its loss in nats per token and in bits per byte.

    All are means over the tokens (bytes) of all held-out rows together; the perplexity is the exponential of the mean loss. Use bits
    per byte to compare models with different tokenizers.
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
        nll = nats / inputs.model.tokens(inputs.heldout).sum()
        return {"heldout_nll": nll, "heldout_perplexity": np.exp(nll), "bits_per_byte": nats / np.log(2) / byte_count(inputs.heldout)}


@dataclass(frozen=True)
class Continuation:
    """Loss of the generation's model on the second half of each held-out row, given the first half.

    By the chain rule, the loss of the second half is the loss of the whole row minus that of the first half. Rows are split before the
    space in front of their middle word, so that the tokens of the first half are also the first tokens of the row. The first half of a
    row of one word is empty.
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
        whole, first_halves = Pool.of(text=rows), Pool.of(text=[first_half(text) for text in rows])
        nats = model.score(whole).sum() - model.score(first_halves).sum()
        n_tokens = model.tokens(whole).sum() - model.tokens(first_halves).sum()
        n_bytes = byte_count(whole) - byte_count(first_halves)
        return {"continuation_nll": nats / n_tokens, "continuation_bits_per_byte": nats / np.log(2) / n_bytes}


def first_half(text: str) -> str:
    """Return a text up to its middle word, without the space in front of that word."""
    ends = [0, *(word.end() for word in re.finditer(r"\S+", text))]
    return text[: ends[(len(ends) - 1) // 2]]


def byte_count(pool: Pool) -> int:
    """Return the total number of UTF-8 bytes of the rows."""
    return sum(len(text.encode()) for text in pool.list("text"))


@dataclass(frozen=True)
class BasePerplexity:
    """Log-perplexity of generated text under an earlier model: mean, 95th percentile and histogram (Shumailov et al. 2024, fig. 1).

    A mean below that of real text shows that the text concentrates on what the earlier model finds likely. A rising upper tail shows
    text that a model of real data does not produce. `samples_nll_share/BB` is the share of rows between BB nats per token and the next
    bin. Rows without tokens are left out; if all rows are empty, the loss is 0.
    """

    by: Literal["base", "first"] = "base"
    """The earlier model: the one that fine-tuning starts from (generation 0's if there is none), or generation 0's."""
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
        earlier = inputs.base if self.by == "base" else inputs.first
        nats, tokens = earlier.score(inputs.generated), earlier.tokens(inputs.generated)
        nonempty = tokens > 0
        per_token = nats[nonempty] / tokens[nonempty] if nonempty.any() else np.zeros(1)
        edges = [float(edge) for edge in NLL_BINS]
        bins = np.searchsorted(edges, per_token.clip(0), side="right") - 1  # a token of probability 1 may have a loss just below 0
        shares = np.bincount(bins, minlength=len(NLL_BINS)) / len(per_token)
        return {
            "samples_nll": nats.sum() / max(1, tokens.sum()),
            "samples_nll_p95": np.quantile(per_token, 0.95),
            **{f"samples_nll_share/{edge}": share for edge, share in zip(NLL_BINS, shares, strict=True)},
        }


@dataclass(frozen=True)
class TrainSyntheticTestReal:
    """Train on synthetic, test on real: bits per byte of held-out text under an n-gram model trained on the generated rows.

    For text also called reverse perplexity (Zhao et al. 2018). The tokenizer of the n-gram model is trained on the generated rows too.
    The loss is low only if the rows are both realistic and varied. It falls with the number of rows, so compare equal numbers.
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

        longest = max(len(text.encode()) for text in inputs.generated.list("text"))  # bytes; a row has at most as many tokens
        student = NGram(order=self.order, vocabulary=self.vocabulary, context=longest + 2, prompt_tokens=1)
        with TemporaryDirectory() as scratch:
            student.fit(inputs.generated, seed=0, scratch=Path(scratch))
        return {"student_bits_per_byte": student.score(inputs.heldout).sum() / np.log(2) / byte_count(inputs.heldout)}


@dataclass(frozen=True)
class Vocabulary:
    """Word entropy of generated text, and the share of the real vocabulary and of its rare words that the text still uses.

    `vocabulary_kept` is the share of the word types of real rows that occur in the generated rows. `rare_recall` is the same for the
    types that occur at most `rare` times in the real rows. Both samples have the same number of rows. Even real rows do not reach 1:
    compare with the floor.
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
        generated, real = word_counts(inputs.generated), word_counts(inputs.real)
        rare = [word for word, count in real.items() if count <= self.rare]
        total = max(1, generated.total())
        return {
            "word_entropy": -sum(count / total * np.log(count / total) for count in generated.values()),
            "vocabulary_kept": _share_used(real, generated),
            "rare_recall": _share_used(rare, generated),
        }


def _share_used(types: Collection[str], counts: Counter[str]) -> float:
    """Return the share of word types that have a count; 0 if there are no types."""
    return sum(word in counts for word in types) / max(1, len(types))


@dataclass(frozen=True)
class WordFrequency:
    """How often generated text uses common and rare words, relative to real text, in ten groups of words.

    Group 01 has the most common word types of the real rows and group 10 the rarest. Each group makes up a tenth of the real text.
    """

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("text",)
    reads: ClassVar[tuple[str, ...]] = ("generated", "real")
    outputs: ClassVar[Mapping[str, MetricInfo]] = FREQUENCY

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        return by_frequency(word_counts(inputs.real), word_counts(inputs.generated), by_mass=True)


@dataclass(frozen=True)
class NGramFrequency:
    """How often generated text uses common and rare n-grams of words, relative to real text, in ten groups of n-grams.

    Groups are formed as in `word-frequency`. Most n-grams occur only once in real text, so real rows too repeat few of the rarest:
    compare with the floor.
    """

    n: Annotated[int, Field(ge=1)] = 2
    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("text",)
    reads: ClassVar[tuple[str, ...]] = ("generated", "real")
    outputs: ClassVar[Mapping[str, MetricInfo]] = frequency_outputs("ngram")

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        real = ngram_counts(inputs.real, self.n)
        if not real:
            raise UserError(f"metrics: 'ngram-frequency': no real row has n = {self.n} words; use a smaller n or longer rows")
        return by_frequency(real, ngram_counts(inputs.generated, self.n), by_mass=True, name="ngram")


@dataclass(frozen=True)
class Zipf:
    """Zipf exponent of the words of generated text: how steeply word frequency falls with rank.

    The exponent s is the maximum-likelihood fit of p(r) = r^-s / (1^-s + ... + V^-s) for the word type of rank r among V types. It is
    near 1 for most English text, and 0 for fewer than two word types. It depends on the amount of text, so compare equal numbers of rows.
    """

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("text",)
    reads: ClassVar[tuple[str, ...]] = ("generated",)
    outputs: ClassVar[Mapping[str, MetricInfo]] = {
        "zipf_exponent": MetricInfo("tail", "exponent", None, "Zipf 1935; Clauset et al. 2009"),
    }

    def __call__(self, inputs: MetricInputs) -> Mapping[str, float]:
        counts = np.array(sorted(word_counts(inputs.generated).values(), reverse=True), dtype=np.float64)
        return {"zipf_exponent": zipf_exponent(counts)}


def zipf_exponent(counts: np.ndarray) -> float:
    """Return the maximum-likelihood Zipf exponent of counts [V] in descending order, within EXPONENT_BOUNDS; 0 if V < 2."""
    from scipy.optimize import minimize_scalar

    if len(counts) < 2:
        return 0.0
    log_rank = np.log(np.arange(1, len(counts) + 1))
    mean_log_rank = counts @ log_rank / counts.sum()

    def nats_per_word(s: float) -> float:
        return s * mean_log_rank + np.log(np.exp(-s * log_rank).sum())

    return float(minimize_scalar(nats_per_word, bounds=EXPONENT_BOUNDS, method="bounded", options={"xatol": 1e-8}).x)
