"""Sampling settings that all text generators share: temperature, top-k, top-p and the watermark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from ..common.core.errors import UserError
from .watermark import GreenList

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Sampling:
    """Settings of token sampling. With the defaults, tokens follow the model's own distribution."""

    temperature: Annotated[float, Field(gt=0)] = 1.0
    top_k: Annotated[int, Field(ge=1)] | None = None
    top_p: Annotated[float, Field(gt=0, le=1)] | None = None
    watermark: GreenList | None = None

    @property
    def unbiased(self) -> bool:
        """True if tokens follow the model's own distribution."""
        return self == Sampling()


def token_probabilities(logits: torch.Tensor, sampling: Sampling) -> torch.Tensor:
    """Return the probabilities [rows, vocabulary] after temperature, top-k and top-p, in this order. Not renormalised."""
    import torch

    probabilities = torch.softmax(logits / sampling.temperature, dim=-1)
    if sampling.top_k is not None and sampling.top_k < probabilities.shape[-1]:
        smallest = probabilities.topk(sampling.top_k, dim=-1).values[:, -1:]
        probabilities = torch.where(probabilities < smallest, 0.0, probabilities)
    if sampling.top_p is not None and sampling.top_p < 1:
        probabilities = probabilities / probabilities.sum(-1, keepdim=True)
        ordered, order = probabilities.sort(dim=-1, descending=True)
        beyond = ordered.cumsum(-1) - ordered >= sampling.top_p  # the tokens before this one already reach top_p
        probabilities = probabilities.masked_fill(beyond.scatter(-1, order, beyond), 0.0)
    return probabilities


def check_totals(totals: np.ndarray | torch.Tensor) -> None:
    """Raise UserError unless the probabilities of every row have a positive sum. `totals` holds the sums."""
    if not bool((totals > 0).all()):
        raise UserError("token probabilities contain NaN or sum to zero: training diverged, or top_k/top_p removed every token")
