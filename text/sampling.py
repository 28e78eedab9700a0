"""Sampling settings that all text generators share: temperature, top-k, top-p and the watermark."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from pydantic import Field

from ..common.core.device import widest_float
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


CDF_BLOCK = 64
"""Number of tokens in a block of `draw_tokens`."""


def draw_tokens(probabilities: torch.Tensor, uniforms: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw one token per row by inverting the cumulative distribution. Returns tokens, int64 [rows], and totals [rows].

    probabilities [rows, vocabulary], float32 or float64, need not sum to 1; uniforms [rows] in [0, 1). The totals are the sums
    of the probabilities. A row whose total is not positive gets an arbitrary token: pass the totals to `check_totals`.

    The search has two levels, because a cumulative sum over the whole vocabulary costs more than a small model: it finds the block of
    tokens that holds the quantile, then the token within the block. Sums are in float64, or float32 on MPS. A token of probability 0 is
    never drawn.
    """
    import torch

    wide = widest_float(probabilities.device)
    rows, vocabulary = probabilities.shape
    padded = torch.nn.functional.pad(probabilities, (0, -vocabulary % CDF_BLOCK))
    blocks = padded.view(rows, -1, CDF_BLOCK)
    cumulative = blocks.sum(-1, dtype=wide).cumsum(-1)  # [rows, blocks]
    total = cumulative[:, -1:]
    block, rest = _quantile(cumulative, uniforms[:, None] * total)
    inner = blocks.gather(1, block[:, :, None].expand(-1, -1, CDF_BLOCK))[:, 0].to(wide).cumsum(-1)  # [rows, CDF_BLOCK]
    token, _ = _quantile(inner, rest)
    return (block * CDF_BLOCK + token)[:, 0].clamp(max=vocabulary - 1), total[:, 0]


def _quantile(cumulative: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the first entry of each row that exceeds `target` [rows, 1], and the rest of `target` after the entries before it.

    Rounding can lift `target` to the total of the row. The last entry with a positive share is returned then.
    """
    import torch

    below_total = torch.nextafter(cumulative[:, -1:], cumulative.new_zeros(()))
    entry = torch.searchsorted(cumulative, torch.minimum(target, below_total), right=True).clamp(max=cumulative.shape[1] - 1)
    before = torch.where(entry > 0, cumulative.gather(1, (entry - 1).clamp(min=0)), 0.0)
    return entry, (target - before).clamp(min=0)


def check_totals(totals: np.ndarray | torch.Tensor) -> None:
    """Raise UserError unless the probabilities of every row have a positive sum. `totals` holds the sums."""
    if not bool((totals > 0).all()):
        raise UserError("token probabilities contain NaN or sum to zero: training diverged, or top_k/top_p removed every token")
