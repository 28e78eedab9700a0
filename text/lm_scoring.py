"""Likelihoods and hidden states of given text under a causal language model."""

from __future__ import annotations

import numpy as np
import torch

from ..common.core.device import Precision, compute_in, device
from ..common.core.task_threads import threads_for
from .lm_network import IGNORED, Network, pad

SCORING_BATCH = 16
"""Rows scored at once on a CPU. Smaller batches are filled up, so that the bits of a row do not depend on the other rows."""
LARGEST_SCORING_BATCH = 1024
"""Most rows scored at once on a GPU. The logits of all their positions are in memory, so long rows or a large vocabulary allow fewer."""
WIDTH_STEP = 16
"""The width of a batch of windows is a multiple of this number, so that short windows need little time."""


def cross_entropy(logits: torch.Tensor, targets: torch.Tensor, *, reduction: str) -> torch.Tensor:
    """Return the cross-entropy in nats. logits [rows, tokens, vocabulary]; targets [rows, tokens], where IGNORED is left out."""
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), targets.flatten(), ignore_index=IGNORED, reduction=reduction)


def scoring_batch(network: Network, *, width: int) -> int:
    """Return the number of rows of `width` tokens to score at once. On a GPU, their logits use at most an eighth of its memory."""
    target = device()
    if target.type != "cuda":
        return SCORING_BATCH
    bytes_per_row = 12 * width * network.vocabulary  # float32 logits, their logarithms, and one temporary copy
    memory = torch.cuda.get_device_properties(target).total_memory // 8
    return max(SCORING_BATCH, min(LARGEST_SCORING_BATCH, memory // bytes_per_row))


@torch.inference_mode()
def nats_per_row(network: Network, rows: list[list[int]], *, context: int, precision: Precision = "float32") -> np.ndarray:
    """Return the negative log-likelihood of each row's tokens after the start token, float64 [rows].

    Rows longer than `context` are split into windows of `context` tokens, which are scored independently.
    """
    by_width: dict[int, list[tuple[int, list[int]]]] = {}
    for row, tokens in enumerate(rows):
        for start in range(0, len(tokens), context):
            window = [network.start, *tokens[start : start + context]]
            width = min(-(-len(window) // WIDTH_STEP) * WIDTH_STEP, context + 1)  # the model may not have more positions
            by_width.setdefault(width, []).append((row, window))
    nats = np.zeros(len(rows))
    with threads_for(network.weights), compute_in(precision):
        for width, windows in sorted(by_width.items()):
            size = scoring_batch(network, width=width)
            for start in range(0, len(windows), size):
                window_rows, batch = zip(*windows[start : start + size], strict=True)
                np.add.at(nats, list(window_rows), _nats_of_windows(network, list(batch), width=width))
    return nats


def _nats_of_windows(network: Network, windows: list[list[int]], *, width: int) -> np.ndarray:
    """Return the negative log-likelihood of windows of at most `width` tokens, float64 [windows]."""
    filled = [*windows, *[[network.end]] * (SCORING_BATCH - len(windows))]
    inputs, targets = pad(filled, network.end, width=width), pad(filled, IGNORED, width=width)
    losses = cross_entropy(network.weights(inputs[:, :-1]).logits, targets[:, 1:], reduction="none")
    return losses.cpu().double().view(len(filled), -1).sum(1)[: len(windows)].numpy()


@torch.inference_mode()
def mean_hidden_states(network: Network, rows: list[list[int]], *, context: int, precision: Precision = "float32") -> np.ndarray:
    """Mean of the last hidden states over the start token and the tokens of each row, `context` in all at most; float32 [rows, hidden]."""
    sequences = [[network.start, *row[:context]] for row in rows]
    means = np.zeros((len(rows), network.weights.config.hidden_size), dtype=np.float32)
    size = scoring_batch(network, width=context)
    with threads_for(network.weights), compute_in(precision):
        for start in range(0, len(rows), size):
            batch = sequences[start : start + size]
            filled = pad([*batch, *[[network.start]] * (SCORING_BATCH - len(batch))], network.end, width=context + 1)
            states = network.weights.base_model(filled[:, :-1]).last_hidden_state.float().cpu()
            for place, sequence in enumerate(batch):
                means[start + place] = states[place, : min(len(sequence), context)].mean(0).numpy()
    return means
