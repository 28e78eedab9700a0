"""Token sampling of a causal language model: new rows, continuations of prompts, and replacements for overly likely tokens."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from ..common.core.device import Precision, compute_in, device, widest_float
from ..common.core.random_streams import stream
from ..common.core.task_threads import threads_for
from .kv_cache import CachedForward, bytes_per_row, fast_attention
from .lm_network import Network, pad
from .lm_scoring import SCORING_BATCH
from .sampling import Sampling, check_totals, draw_tokens, token_probabilities
from .watermark import watermark_of

SMALLEST_BATCH = 16
"""Smaller batches are filled up to this number of rows. Products of fewer rows use other kernels, whose rounding differs."""
LARGEST_BATCH = {"cpu": 512, "cuda": 4096}
"""Largest number of rows that are sampled at once, by type of device. Other devices use the number of the CPU."""
CPU_MEMORY = 1_000_000_000
"""Memory in bytes for a batch on the CPU, which several workers share. A GPU spends a third of its memory."""
STEPS_BETWEEN_CHECKS = 8
"""Number of tokens after which the host looks which rows have ended. Each look waits for the device."""


def sample_texts(
    network: Network, prompts: list[list[int]], *, context: int, ends: bool, sampling: Sampling, precision: Precision, seed: int
) -> list[str]:
    """One text per prompt: its continuation up to `context` tokens, without the prompt. Row r draws from the stream (seed, "row", r).

    On a CPU, the text of a row depends on nothing but the row. On other devices, rounding depends on the number of rows in its batch,
    so a row can differ between two calls with different numbers of prompts; two calls with the same prompts agree.
    """
    texts = [""] * len(prompts)
    for rows in batches_of_equal_length(prompts, largest=rows_at_once(network, positions=context + 1)):
        uniforms = np.stack([stream(seed, "row", row).random(context) for row in rows])
        batch = [prompts[row] for row in rows]
        continuations = continue_prompts(network, batch, uniforms, ends=ends, sampling=sampling, precision=precision)
        for row, tokens in zip(rows, continuations, strict=True):
            texts[row] = network.decode(tokens)
    return texts


def rows_at_once(network: Network, *, positions: int) -> int:
    """Return the number of rows to sample at once. It depends on the device and the model, not on the memory that is free."""
    target = device()
    memory = torch.cuda.get_device_properties(target).total_memory // 3 if target.type == "cuda" else CPU_MEMORY
    most = LARGEST_BATCH.get(target.type, LARGEST_BATCH["cpu"])
    return max(SMALLEST_BATCH, min(most, memory // bytes_per_row(network, positions=positions)))


@torch.inference_mode()
def continue_prompts(
    network: Network, prompts: list[list[int]], uniforms: np.ndarray, *, ends: bool, sampling: Sampling, precision: Precision = "float32"
) -> list[list[int]]:
    """Draw tokens after prompts of equal length. Returns them without the end token, at least one per row.

    uniforms [rows, context]: one number in [0, 1) per token. Each token is drawn by inverting the cumulative distribution. With
    `ends: false` the end token is never drawn, so that every row has `context` tokens including its prompt.
    """
    with threads_for(network.weights), compute_in(precision), fast_attention(network):
        batch = _Batch(network, prompts, uniforms, sampling)
        for step in range(uniforms.shape[1] + 1 - len(prompts[0])):
            batch.draw(step, may_end=ends and step > 0)  # the next generation could not learn from an empty row
            if step % STEPS_BETWEEN_CHECKS == STEPS_BETWEEN_CHECKS - 1 and batch.drop_ended_rows():
                break
        return batch.continuations()[: len(prompts)]


class _Batch:
    """Rows that are sampled together. Rows that have ended are dropped from time to time."""

    def __init__(self, network: Network, prompts: list[list[int]], uniforms: np.ndarray, sampling: Sampling):
        n = max(SMALLEST_BATCH, len(prompts))
        self._network, self._sampling, self._end = network, sampling, network.end
        self._watermark = watermark_of(sampling.watermark, network.vocabulary)
        self._forward = CachedForward(network, positions=uniforms.shape[1] + 1)
        self._rows = torch.arange(n, device=device())
        """The rows that are still sampled, int64 [rows]."""
        self._tokens = torch.tensor([*prompts, *[prompts[0]] * (n - len(prompts))], device=device())
        """The tokens that the network reads next, int64 [rows, new]."""
        wide = widest_float(device())
        self._uniforms = torch.from_numpy(np.resize(uniforms, (n, uniforms.shape[1]))).to(wide).to(device())
        self._drawn = torch.full((uniforms.shape[1], n), self._end, device=device())
        """The tokens drawn so far, int64 [context, n], followed by end tokens."""
        self._ended = torch.zeros(n, dtype=torch.bool, device=device())
        self._smallest_total = torch.ones(n, dtype=wide, device=device())

    def draw(self, step: int, *, may_end: bool) -> None:
        """Draw the next token of every row."""
        logits = self._forward(self._tokens)  # [rows, vocabulary]
        if not may_end:
            logits[:, self._end] = -torch.inf
        probabilities = token_probabilities(logits, self._sampling)
        if self._watermark is not None:
            boost = self._watermark.boost(self._tokens[:, -1].tolist())
            probabilities = probabilities * torch.from_numpy(boost).to(probabilities.dtype).to(probabilities.device)
        tokens, totals = draw_tokens(probabilities, self._uniforms[:, step])
        self._smallest_total = torch.where(totals > 0, self._smallest_total, 0.0)
        self._drawn[step, self._rows] = torch.where(self._ended, self._end, tokens)
        self._ended |= tokens == self._end
        self._tokens = tokens[:, None]

    def drop_ended_rows(self) -> bool:
        """Drop ended rows if they are at least half of the batch. Returns True if all rows have ended."""
        check_totals(self._smallest_total)
        n, left = len(self._rows), len(self._rows) - int(self._ended.sum())
        kept = max(SMALLEST_BATCH, left)
        if left > 0 and kept <= n // 2:
            order = torch.argsort(self._ended.int(), stable=True)[:kept]
            if self._forward.keep_rows(order):
                self._rows, self._tokens, self._uniforms = self._rows[order], self._tokens[order], self._uniforms[order]
                self._ended, self._smallest_total = self._ended[order], self._smallest_total[order]
        return left == 0

    def continuations(self) -> list[list[int]]:
        """Return the tokens of every row up to its end token."""
        check_totals(self._smallest_total)
        rows = self._drawn.T.tolist()
        return [row[: row.index(self._end)] if self._end in row else row for row in rows]


@torch.inference_mode()
def edit_rows(
    network: Network, rows: list[list[int]], *, context: int, threshold: float, precision: Precision, seed: int
) -> tuple[list[list[int]], int]:
    """Resample every token of probability above `threshold`. Returns the rows and the number of resampled tokens.

    All probabilities are conditioned on the original row (Zhu et al. 2024, eq. 4). Tokens beyond `context` are not changed.
    """
    edited_rows, n_drawn = [], 0
    with threads_for(network.weights), compute_in(precision):
        for start in range(0, len(rows), SCORING_BATCH):
            batch = rows[start : start + SCORING_BATCH]
            filled = [[network.start, *row[:context]] for row in [*batch, *[[]] * (SCORING_BATCH - len(batch))]]
            tokens = pad(filled, network.end, width=context + 1)
            uniforms = np.stack([stream(seed, "row", start + place).random(context) for place in range(SCORING_BATCH)])
            resampled, likely = _resample(
                network, tokens, torch.from_numpy(uniforms).to(widest_float(tokens.device)).to(tokens.device), threshold=threshold
            )
            for row, new, changed in zip(batch, resampled.tolist(), likely.tolist(), strict=False):  # the last batch is filled up
                n = min(len(row), context)
                edited_rows.append([*new[:n], *row[n:]])
                n_drawn += sum(changed[:n])
    return edited_rows, n_drawn


def _resample(network: Network, tokens: torch.Tensor, uniforms: torch.Tensor, *, threshold: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Draw the tokens of probability above `threshold` again. Returns tokens, int64 [rows, context], and which ones were drawn, bool.

    tokens [rows, 1 + context]: start token and tokens; uniforms [rows, context].
    """
    probabilities = torch.softmax(network.weights(tokens[:, :-1]).logits.float(), dim=-1)  # [rows, context, vocabulary]
    probabilities[:, :, network.end] = 0.0
    drawn, totals = draw_tokens(probabilities.flatten(0, 1), uniforms.flatten())
    check_totals(totals)
    original = tokens[:, 1:]
    likely = probabilities.gather(2, original[:, :, None])[:, :, 0] > threshold
    return torch.where(likely, drawn.view_as(original), original), likely


def batches_of_equal_length(prompts: list[list[int]], *, largest: int) -> Iterator[list[int]]:
    """Yield row numbers in batches of at most `largest` rows whose prompts have the same length, so that none needs padding."""
    by_length: dict[int, list[int]] = {}
    for row, prompt in enumerate(prompts):
        by_length.setdefault(len(prompt), []).append(row)
    for rows in by_length.values():
        for start in range(0, len(rows), largest):
            yield rows[start : start + largest]
