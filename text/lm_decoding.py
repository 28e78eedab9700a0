"""Token sampling of a causal language model: new rows, continuations of prompts, and replacements for overly likely tokens."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import numpy as np
import torch
from transformers import StaticCache

from ..common.core.device import device
from ..common.core.random_streams import stream
from .lm_network import Network, pad
from .lm_scoring import SCORING_BATCH
from .sampling import Sampling, check_totals, token_probabilities
from .watermark import watermark_of

SAMPLING_BATCH = 128
"""Rows sampled at once. Smaller batches are filled up, so that the bits of a row do not depend on the number of rows."""


@torch.inference_mode()
def sample_texts(network: Network, prompts: list[list[int]], *, context: int, ends: bool, sampling: Sampling, seed: int) -> list[str]:
    """One text per prompt: its continuation up to `context` tokens, without the prompt. Row r draws from the stream (seed, "row", r)."""
    texts = [""] * len(prompts)
    for rows in batches_of_equal_length(prompts):
        uniforms = np.stack([stream(seed, "row", row).random(context) for row in rows])
        continuations = continue_prompts(network, [prompts[row] for row in rows], uniforms, ends=ends, sampling=sampling)
        for row, tokens in zip(rows, continuations, strict=True):
            texts[row] = network.decode(tokens)
    return texts


@torch.inference_mode()
def continue_prompts(
    network: Network, prompts: list[list[int]], uniforms: np.ndarray, *, ends: bool, sampling: Sampling
) -> list[list[int]]:
    """Draw tokens after prompts of equal length. Returns them without the end token, at least one per row.

    uniforms [rows, context]: one number in [0, 1) per token. Each token is drawn by inverting the cumulative distribution. With
    `ends: false` the end token is never drawn, so that every row has `context` tokens including its prompt.
    """
    context, end = uniforms.shape[1], network.end
    watermark = watermark_of(sampling.watermark, network.vocabulary)
    tokens = torch.tensor([*prompts, *[prompts[0]] * (SAMPLING_BATCH - len(prompts))], device=device())  # [batch, prompt]
    draws = torch.from_numpy(np.resize(uniforms, (SAMPLING_BATCH, context))).to(device())
    forward = _CachedForward(network, positions=context + 1)
    ended = torch.zeros(SAMPLING_BATCH, dtype=torch.bool, device=device())
    generated = []
    for step in range(context + 1 - tokens.shape[1]):
        logits = forward(tokens).double()  # [batch, vocabulary]
        if step == 0 or not ends:
            logits[:, end] = -torch.inf  # the next generation could not learn from an empty row
        probabilities = token_probabilities(logits, sampling)
        if watermark is not None:
            probabilities = probabilities * torch.from_numpy(watermark.boost(tokens[:, -1].tolist())).to(device())
        cumulative = probabilities.cumsum(-1)
        check_totals(cumulative[:, -1])
        drawn = torch.searchsorted(cumulative, draws[:, step : step + 1] * cumulative[:, -1:], right=True)
        tokens = drawn.clamp(max=cumulative.shape[1] - 1)
        ended |= tokens[:, 0] == end
        generated.append(tokens[:, 0])
        if ended.all():
            break
    rows = torch.stack(generated, dim=1)[: len(prompts)].tolist()
    return [row[: row.index(end)] if end in row else row for row in rows]


@torch.inference_mode()
def edit_rows(network: Network, rows: list[list[int]], *, context: int, threshold: float, seed: int) -> tuple[list[list[int]], int]:
    """Resample every token of probability above `threshold`. Returns the rows and the number of resampled tokens.

    All probabilities are conditioned on the original row (Zhu et al. 2024, eq. 4). Tokens beyond `context` are not changed.
    """
    edited_rows, n_drawn = [], 0
    for start in range(0, len(rows), SCORING_BATCH):
        batch = rows[start : start + SCORING_BATCH]
        filled = [[network.start, *row[:context]] for row in [*batch, *[[]] * (SCORING_BATCH - len(batch))]]
        probabilities = torch.softmax(network.weights(pad(filled, network.end, width=context + 1)[:, :-1]).logits.double(), dim=-1)
        probabilities[:, :, network.end] = 0.0
        cumulative = probabilities.cumsum(-1)  # [batch, context, vocabulary]
        check_totals(cumulative[..., -1])
        for place, row in enumerate(batch):
            n = min(len(row), context)
            u = torch.from_numpy(stream(seed, "row", start + place).random(n)).to(device())
            drawn = torch.searchsorted(cumulative[place, :n], u[:, None] * cumulative[place, :n, -1:], right=True)[:, 0]
            original = torch.tensor(row[:n], device=device(), dtype=torch.long)
            likely = probabilities[place, :n].gather(1, original[:, None])[:, 0] > threshold
            edited = torch.where(likely, drawn.clamp(max=cumulative.shape[-1] - 1), original).tolist()
            edited_rows.append([*edited, *row[n:]])
            n_drawn += int(likely.sum())
    return edited_rows, n_drawn


class _CachedForward:
    """Calls a network on the next tokens of a batch, with the keys and values of all earlier tokens in a cache."""

    def __init__(self, network: Network, *, positions: int):
        parameters = inspect.signature(network.weights.forward).parameters
        name = "cache" if "cache" in parameters else "past_key_values"  # the name differs between versions of transformers
        self._weights = network.weights
        self._cache = {name: StaticCache(config=network.weights.config, max_cache_len=positions)}

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits of the token after the last one of each row, [batch, vocabulary]."""
        return self._weights(tokens, **self._cache, use_cache=True, logits_to_keep=1).logits[:, -1]


def batches_of_equal_length(prompts: list[list[int]]) -> Iterator[list[int]]:
    """Yield row numbers in batches of at most SAMPLING_BATCH rows whose prompts have the same length, so that none needs padding."""
    by_length: dict[int, list[int]] = {}
    for row, prompt in enumerate(prompts):
        by_length.setdefault(len(prompt), []).append(row)
    for rows in by_length.values():
        for start in range(0, len(rows), SAMPLING_BATCH):
            yield rows[start : start + SAMPLING_BATCH]
