"""How tokens are drawn: temperature, top-k, top-p and a green-list watermark, the same for every model of text."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from ..common.core.errors import UserError

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class GreenList:
    """The watermark of Kirchenbauer et al. 2023, algorithm 2: after every token a keyed share `gamma` of the vocabulary is green,
    and a green token's logit is raised by `delta`. 0.25 and 2 are the paper's settings."""

    gamma: Annotated[float, Field(gt=0, lt=1)] = 0.25
    delta: Annotated[float, Field(gt=0, le=100)] = 2.0
    key: Annotated[int, Field(ge=1, lt=2**40)] = 15485863


@dataclass(frozen=True)
class Sampling:
    """How tokens are drawn. The defaults draw from the model's own distribution, unbiased."""

    temperature: Annotated[float, Field(gt=0)] = 1.0
    top_k: Annotated[int, Field(ge=1)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    watermark: GreenList | None = None

    @property
    def unbiased(self) -> bool:
        """Whether tokens come from the model's own distribution."""
        return self == Sampling()


def distribution(logits: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Probabilities [rows, vocabulary] after temperature, top-k and top-p, in this order; not renormalised."""
    import torch

    chances = torch.softmax(logits / sampling.temperature, dim=-1)
    if sampling.top_k is not None and sampling.top_k < chances.shape[-1]:
        least = chances.topk(sampling.top_k, dim=-1).values[:, -1:]
        chances = torch.where(chances < least, 0.0, chances)
    if sampling.top_p is not None and sampling.top_p < 1:
        chances = chances / chances.sum(-1, keepdim=True)
        ordered, order = chances.sort(dim=-1, descending=True)
        beyond = ordered.cumsum(-1) - ordered >= sampling.top_p  # the mass before a token already suffices
        chances = chances.masked_fill(beyond.scatter(-1, order, beyond), 0.0)
    return chances


def refuse_broken(totals: np.ndarray | torch.Tensor) -> None:
    """UserError unless the chances of every row add up to something, given their sums: no token can be drawn from NaN."""
    if not bool((totals > 0).all()):
        raise UserError(
            "the model gives chances that are not numbers, or none at all; it has diverged, or its sampling leaves nothing to draw"
        )


class Watermark:
    """Green lists over a vocabulary, as transformers draws them, and the test for them."""

    def __init__(self, settings: GreenList, vocabulary: int):
        from transformers.generation import WatermarkLogitsProcessor

        self.settings = settings
        self._processor = WatermarkLogitsProcessor(
            vocab_size=vocabulary, device="cpu", greenlist_ratio=settings.gamma, bias=1.0, hashing_key=settings.key, context_width=1
        )
        self.gamma = int(vocabulary * settings.gamma) / vocabulary
        """The share that really is green: a whole number of tokens."""
        self._vocabulary = vocabulary
        self.green = lru_cache(maxsize=8192)(self._green)

    def _green(self, previous: int) -> np.ndarray:
        """Which tokens are green after a token, bool [vocabulary]."""
        import torch

        return self._processor(torch.tensor([[previous]]), torch.zeros(1, self._vocabulary))[0].numpy() > 0

    def boost(self, previous: Sequence[int]) -> np.ndarray:
        """What the chance of each token is multiplied by after each of some tokens, float64 [rows, vocabulary]: exp(delta) or 1."""
        return np.where(np.stack([self.green(int(token)) for token in previous]), np.exp(self.settings.delta), 1.0)

    def z(self, tokens: Sequence[int]) -> float:
        """Kirchenbauer et al. 2023, eq. 3, over the distinct pairs of neighbouring tokens: repeated ones are no new evidence.

        The green count's distance from what chance gives, in standard deviations; 0 for rows without a pair.
        """
        pairs = set(pairwise(tokens))
        if not pairs:
            return 0.0
        greens = sum(bool(self.green(previous)[token]) for previous, token in pairs)
        return float((greens - self.gamma * len(pairs)) / np.sqrt(len(pairs) * self.gamma * (1 - self.gamma)))


@cache
def watermark_of(settings: GreenList | None, vocabulary: int) -> Watermark | None:
    """The watermark of these settings, its green lists drawn once for all who ask; None for none."""
    return None if settings is None else Watermark(settings, vocabulary)
