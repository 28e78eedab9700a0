"""What is read off generated text. Words are runs of letters, digits and apostrophes, lower-cased, whatever the tokenizer."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from ..common.metrics import Evidence, Measure
from ..common.pool import Pool
from ..common.tails import FREQUENCY, by_frequency


def words(text: str) -> list[str]:
    """The words of a text."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower())


@dataclass(frozen=True)
class HeldOut:
    """How well the model predicts real text it never saw. Bits per byte compare models with different tokenizers.

    Means are over all tokens (bytes) of the held-out rows; the perplexity is the exponential of the mean, taken last.
    """

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("text",)
    reads: ClassVar[tuple[str, ...]] = ("model", "heldout")
    abilities: ClassVar[tuple[str, ...]] = ("score", "tokens")
    measures: ClassVar[Mapping[str, Measure]] = {
        "heldout_nll": Measure("likelihood", "nats per token", False, "Shumailov et al. 2024"),
        "heldout_perplexity": Measure("likelihood", "effective choices per token", False, "Jelinek et al. 1977"),
        "bits_per_byte": Measure("likelihood", "bits per UTF-8 byte", False, "Gao et al. 2020, sec. 3.1"),
    }

    def __call__(self, evidence: Evidence) -> Mapping[str, float]:
        nats = evidence.model.score(evidence.heldout).sum()
        n_bytes = sum(len(text.encode()) for text in evidence.heldout.list("text"))
        nll = nats / evidence.model.tokens(evidence.heldout).sum()
        return {"heldout_nll": nll, "heldout_perplexity": np.exp(nll), "bits_per_byte": nats / np.log(2) / n_bytes}


@dataclass(frozen=True)
class SamplesUnderBase:
    """How likely the base model finds what was made (Shumailov et al. 2024, fig. 1): the mean and the unlikely tail.

    Likelier than real text means the model's favourites have taken over; a growing upper tail means text that no model of
    real data would write.
    """

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("text",)
    reads: ClassVar[tuple[str, ...]] = ("base", "made")
    abilities: ClassVar[tuple[str, ...]] = ("score", "tokens")
    measures: ClassVar[Mapping[str, Measure]] = {
        "samples_nll": Measure("likelihood", "nats per token under the base model", None, "Shumailov et al. 2024, fig. 1"),
        "samples_nll_p95": Measure("tail", "nats per token under the base model", None, "Shumailov et al. 2024, fig. 1"),
    }

    def __call__(self, evidence: Evidence) -> Mapping[str, float]:
        nats, tokens = evidence.base.score(evidence.made), evidence.base.tokens(evidence.made)
        some = tokens > 0
        return {"samples_nll": nats.sum() / tokens.sum(), "samples_nll_p95": np.quantile(nats[some] / tokens[some], 0.95)}


@dataclass(frozen=True)
class Distinct:
    """Share of distinct n-grams of words among all n-grams of the rows, for n = 1, 2, 3 (Li et al. 2016).

    It falls with the amount of text, so it is only comparable at the same number of rows. Rows too short for an n-gram
    give none; a pool without any counts as 0.
    """

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("text",)
    reads: ClassVar[tuple[str, ...]] = ("made",)
    measures: ClassVar[Mapping[str, Measure]] = {f"distinct_{n}": Measure("diversity", "share", True, "Li et al. 2016") for n in (1, 2, 3)}

    def __call__(self, evidence: Evidence) -> Mapping[str, float]:
        rows = [words(text) for text in evidence.made.list("text")]
        found = {}
        for n in (1, 2, 3):
            grams = [gram for row in rows for gram in zip(*(row[shift:] for shift in range(n)), strict=False)]
            found[f"distinct_{n}"] = len(set(grams)) / max(1, len(grams))
        return found


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
    reads: ClassVar[tuple[str, ...]] = ("made", "real")
    measures: ClassVar[Mapping[str, Measure]] = {
        "word_entropy": Measure("diversity", "nats", True, "Guo et al. 2024"),
        "vocabulary_kept": Measure("tail", "share of word types", True, "Guo et al. 2024"),
        "rare_recall": Measure("tail", "share of rare word types", True, "Shumailov et al. 2024"),
    }

    def __call__(self, evidence: Evidence) -> Mapping[str, float]:
        made, real = _counts(evidence.made), _counts(evidence.real)
        rare = [word for word, count in real.items() if count <= self.rare]
        total = max(1, made.total())
        return {
            "word_entropy": -sum(count / total * np.log(count / total) for count in made.values()),
            "vocabulary_kept": _share(real, made),
            "rare_recall": _share(rare, made),
        }


@dataclass(frozen=True)
class WordFrequency:
    """What became of common and of rare words, by tenths of the real rows' words: group 01 holds the commonest word types, 10 the
    rarest, each as much of the real text as any other."""

    version: ClassVar[int] = 1
    columns: ClassVar[tuple[str, ...]] = ("text",)
    reads: ClassVar[tuple[str, ...]] = ("made", "real")
    measures: ClassVar[Mapping[str, Measure]] = FREQUENCY

    def __call__(self, evidence: Evidence) -> Mapping[str, float]:
        return by_frequency(_counts(evidence.real), _counts(evidence.made), by_mass=True)


def _counts(pool: Pool) -> Counter[str]:
    return Counter(word for text in pool.list("text") for word in words(text))


def _share(wanted: Mapping[str, int] | list[str], found: Counter[str]) -> float:
    return sum(word in found for word in wanted) / max(1, len(wanted))
