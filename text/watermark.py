"""The green-list watermark for text (Kirchenbauer et al. 2023): how it changes token probabilities, and the test that detects it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from typing import Annotated

import numpy as np
from pydantic import Field


@dataclass(frozen=True)
class GreenList:
    """Settings of the watermark of Kirchenbauer et al. 2023, algorithm 2.

    After each token, a share `gamma` of the vocabulary is green; which tokens are green depends on `key` and on that token. The
    logits of green tokens are raised by `delta`. The defaults of `gamma` and `delta` are those of the paper.
    """

    gamma: Annotated[float, Field(gt=0, lt=1)] = 0.25
    delta: Annotated[float, Field(gt=0, le=100)] = 2.0
    key: Annotated[int, Field(ge=1, lt=2**40)] = 15485863


class Watermark:
    """The green lists of one vocabulary, computed by transformers, and the detection test."""

    def __init__(self, settings: GreenList, vocabulary: int):
        from transformers import WatermarkLogitsProcessor

        self.settings = settings
        self._processor = WatermarkLogitsProcessor(
            vocab_size=vocabulary, device="cpu", greenlist_ratio=settings.gamma, bias=1.0, hashing_key=settings.key, context_width=1
        )
        self.gamma = int(vocabulary * settings.gamma) / vocabulary
        """The actual share of green tokens. It differs from the setting because the number of green tokens is an integer."""
        self._vocabulary = vocabulary
        self.green = lru_cache(maxsize=8192)(self._green)

    def _green(self, previous: int) -> np.ndarray:
        """Return a mask of the tokens that are green after the token `previous`, bool [vocabulary]."""
        import torch

        return self._processor(torch.tensor([[previous]]), torch.zeros(1, self._vocabulary))[0].numpy() > 0

    def boost(self, previous: Sequence[int]) -> np.ndarray:
        """Factors for the token probabilities after each token of `previous`, float64 [rows, vocabulary]: exp(delta) if green, else 1."""
        return np.where(np.stack([self.green(int(token)) for token in previous]), np.exp(self.settings.delta), 1.0)

    def z(self, tokens: Sequence[int]) -> float:
        """Return the z-score of the green-token count of one row (Kirchenbauer et al. 2023, eq. 3). 0 for rows of fewer than two tokens.

        Each distinct pair of neighbouring tokens counts once, because repeated pairs are not independent evidence.
        """
        pairs = set(pairwise(tokens))
        if not pairs:
            return 0.0
        greens = sum(bool(self.green(previous)[token]) for previous, token in pairs)
        return float((greens - self.gamma * len(pairs)) / np.sqrt(len(pairs) * self.gamma * (1 - self.gamma)))

    def z_scores(self, rows: Sequence[Sequence[int]]) -> np.ndarray:
        """Return the z-score of each row of tokens, float64 [rows]."""
        return np.array([self.z(row) for row in rows], dtype=np.float64)


@cache
def watermark_of(settings: GreenList | None, vocabulary: int) -> Watermark | None:
    """Return the watermark with these settings, or None. Cached, so that its green lists are computed once per process."""
    return None if settings is None else Watermark(settings, vocabulary)
