"""Curations for text: near-duplicate removal with MinHash, and token editing."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np
from pydantic import Field

from ..common.components.curation import CurationResult
from ..common.components.metric import MetricInputs
from ..common.core.pool import Pool
from .words import words

if TYPE_CHECKING:
    from datasketch import MinHash


@dataclass(frozen=True)
class MinHashDedup:
    """Drops near-duplicates: rows whose word n-grams overlap those of an earlier row by more than `similarity` (Lee et al. 2022, sec. 4.2).

    The overlap is the Jaccard similarity, estimated with MinHash, so pairs close to the threshold may be misjudged. Locality-sensitive
    hashing selects the earlier rows to compare with. Its threshold is 0.8 `similarity`, so that few near-duplicates are missed.
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

        state = random.getstate()  # the index draws a random name for itself from the global state
        index = MinHashLSH(threshold=0.8 * self.similarity, num_perm=self.permutations)
        random.setstate(state)
        kept: dict[int, MinHash] = {}
        for row, text in enumerate(candidates.list("text")):
            sketch = MinHash(num_perm=self.permutations)
            sketch.update_batch([gram.encode() for gram in self._ngrams(text)])
            if all(sketch.jaccard(kept[earlier]) <= self.similarity for earlier in index.query(sketch)):
                index.insert(row, sketch)
                kept[row] = sketch
        return CurationResult(np.array(list(kept), dtype=np.int64))

    def _ngrams(self, text: str) -> set[str]:
        """Return word n-grams of a row. A shorter row counts as one n-gram."""
        row = words(text)
        return {" ".join(row[start : start + self.ngram]) for start in range(max(1, len(row) - self.ngram + 1))}


@dataclass(frozen=True)
class TokenEdit:
    """Keeps all rows, but resamples tokens whose probability under the base model exceeds `threshold` (Zhu et al. 2024, eq. 4).

    The paper edits real text with a threshold of 0.99. Small models rarely reach that probability.
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
