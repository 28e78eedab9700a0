"""Curations that need to know text: near-duplicates by their words, and token editing."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Annotated, ClassVar

import numpy as np
from pydantic import Field

from ..common.components.curation import CurationResult
from ..common.components.metric import MetricInputs
from ..common.core.pool import Pool
from .words import words


@dataclass(frozen=True)
class MinHashDedup:
    """Drops rows whose word n-grams overlap with those of an earlier candidate by more than `similarity` (Lee et al. 2022, sec. 4.2).

    Jaccard similarity, estimated by MinHash (a few pairs near the threshold fall on its other side); which earlier rows a row is
    held against at all is looked up by locality-sensitive hashing at four fifths of the threshold, so that few are overlooked.
    """

    similarity: Annotated[float, Field(gt=0, lt=1)] = 0.7
    ngram: Annotated[int, Field(ge=1)] = 3
    permutations: Annotated[int, Field(ge=16)] = 128
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ()
    columns: ClassVar[tuple[str, ...]] = ("text",)

    def expected_keep_rate(self, *, synthetic_fraction: float) -> float:
        return 1.0

    def __call__(self, candidates: Pool, inputs: MetricInputs, *, rng: np.random.Generator) -> CurationResult:
        from datasketch import MinHash, MinHashLSH

        state = random.getstate()  # the index gives itself a random name, drawn from everybody's random numbers
        index, sketches = MinHashLSH(threshold=0.8 * self.similarity, num_perm=self.permutations), {}
        random.setstate(state)
        for row, text in enumerate(candidates.list("text")):
            sketch = MinHash(num_perm=self.permutations)
            sketch.update_batch([gram.encode() for gram in self._grams(text)])
            if all(sketch.jaccard(sketches[near]) <= self.similarity for near in index.query(sketch)):
                index.insert(row, sketch)
                sketches[row] = sketch
        return CurationResult(np.array(list(sketches), dtype=np.int64))

    def _grams(self, text: str) -> set[str]:
        """Word n-grams of a row; a row of fewer words is one of its own."""
        found = words(text)
        return {" ".join(found[at : at + self.ngram]) for at in range(max(1, len(found) - self.ngram + 1))}


@dataclass(frozen=True)
class TokenEdit:
    """Keeps every row, but draws tokens anew that the base model finds likelier than `above`: token editing (Zhu et al. 2024, eq. 4).

    The paper edits real text with 0.99; a small model is rarely so sure.
    """

    threshold: Annotated[float, Field(gt=0, le=1)] = 0.99
    version: ClassVar[int] = 1
    reads: ClassVar[tuple[str, ...]] = ("base",)
    columns: ClassVar[tuple[str, ...]] = ("text",)
    abilities: ClassVar[tuple[str, ...]] = ("edit",)

    def expected_keep_rate(self, *, synthetic_fraction: float) -> float:
        return 1.0

    def __call__(self, candidates: Pool, inputs: MetricInputs, *, rng: np.random.Generator) -> CurationResult:
        edited, share = inputs.base.edit(candidates, above=self.threshold, seed=int(rng.integers(2**62)))
        return CurationResult(np.arange(len(candidates)), {"tokens_edited": share}, edited)
