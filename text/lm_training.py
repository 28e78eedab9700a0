"""The training loss of a causal language model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch

from ..common.core.device import device
from .lm_network import IGNORED, Network
from .lm_scoring import cross_entropy

GROUPS = (1, 2, 4)
"""Numbers of groups into which a batch may be divided."""
COST_OF_GROUP = {"cpu": 256, "cuda": 16_384}
"""Cost of one more forward and backward pass, in tokens, by type of device. Other devices use the number of the GPU."""


class NextTokenLoss:
    """Mean cross-entropy of the next token over all tokens of a batch of rows, in nats.

    The rows are on the device from the start. A batch of rows of different lengths is computed in up to four groups of similar length,
    which need less padding. The loss is the same up to rounding, because every token has the same weight in all groups.
    """

    def __init__(self, network: Network, sequences: Sequence[Sequence[int]]):
        """Store the training data. `sequences`: start token, tokens and maybe end token of each row."""
        self._network = network
        self._lengths = np.array([len(sequence) for sequence in sequences])
        padded = np.full((len(sequences), self._lengths.max()), network.end, dtype=np.int32)
        for row, sequence in enumerate(sequences):
            padded[row, : len(sequence)] = sequence
        self._tokens = torch.from_numpy(padded).to(device())  # [rows, longest]
        self._row_lengths = torch.from_numpy(self._lengths).to(device())

    def __call__(self, rows: torch.Tensor) -> torch.Tensor:
        """Compute the loss of a batch of rows, int64 [batch] on the CPU."""
        order = rows.numpy()
        order = order[np.argsort(-self._lengths[order], kind="stable")]
        bounds = group_bounds(self._lengths[order], cost_of_group=COST_OF_GROUP.get(device().type, COST_OF_GROUP["cuda"]))
        total = sum(self._loss_sum(order[start:end]) for start, end in pairwise(bounds))
        assert isinstance(total, torch.Tensor)
        return total / int((self._lengths[order] - 1).sum())

    def _loss_sum(self, rows: np.ndarray) -> torch.Tensor:
        """Sum of the cross-entropy over the tokens of some rows."""
        chosen, width = torch.from_numpy(rows).to(device()), int(self._lengths[rows].max())
        tokens = self._tokens[chosen, :width].long()
        positions = torch.arange(1, width, device=device())
        targets = torch.where(positions < self._row_lengths[chosen, None], tokens[:, 1:], IGNORED)
        return cross_entropy(self._network.weights(tokens[:, :-1]).logits, targets, reduction="sum")


def group_bounds(lengths: np.ndarray, *, cost_of_group: int) -> list[int]:
    """Divide rows into the number of groups of equal size that costs least. `lengths` [rows] is in descending order.

    A group costs its rows times its longest row, plus `cost_of_group`. Returns the first row of each group, followed by the number of
    rows.
    """
    n = len(lengths)
    divisions = [[n * group // groups for group in range(groups + 1)] for groups in GROUPS if groups <= n]
    return min(divisions, key=lambda bounds: sum((end - start) * lengths[start] + cost_of_group for start, end in pairwise(bounds)))
