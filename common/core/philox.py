"""Random numbers from counters: Philox4x32-10 (Salmon et al. 2011), computed on the device that needs them.

A number depends only on a seed and a position (row, step, index), never on earlier draws. So rows can be drawn in any order and in
batches of any size. The 32-bit words are equal on all devices. Normal numbers can differ in the last bits between devices, because
their logarithms and cosines are rounded differently.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

ROUNDS = 10
MULTIPLIERS = 0xD2511F53, 0xCD9E8D57
KEY_STEPS = 0x9E3779B9, 0xBB67AE85
"""Increments of the two key words after each round."""
MASK = 0xFFFFFFFF


def philox(counter: Sequence[torch.Tensor], key: tuple[int, int]) -> tuple[torch.Tensor, ...]:
    """Encrypt four counter words with two key words. Returns four words. All words are int64 tensors with values from 0 to 2^32 - 1.

    The shapes of the counter words are broadcast. A product of two words needs 64 unsigned bits. int64 has the same bits with another
    sign, so a shift to the right has to be masked.
    """
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(ROUNDS):
        first, second = c0 * MULTIPLIERS[0], c2 * MULTIPLIERS[1]
        c0, c1, c2, c3 = (
            (second >> 32 & MASK) ^ c1 ^ k0,
            second & MASK,
            (first >> 32 & MASK) ^ c3 ^ k1,
            first & MASK,
        )
        k0, k1 = k0 + KEY_STEPS[0] & MASK, k1 + KEY_STEPS[1] & MASK
    return c0, c1, c2, c3


def words(seed: int, *, steps: range, rows: range, numbers: int, device: torch.device) -> tuple[torch.Tensor, ...]:
    """Draw four 32-bit words for each position, int64 [steps, rows, ceil(numbers / 4)] each. `seed` has at most 64 bits."""
    import torch

    def axis(values: range) -> torch.Tensor:
        return torch.arange(values.start, values.stop, device=device)

    row, step, block = axis(rows)[None, :, None], axis(steps)[:, None, None], axis(range(math.ceil(numbers / 4)))
    return philox((block, row & MASK, step, row >> 32), (seed & MASK, seed >> 32 & MASK))


def normal(seed: int, *, steps: range, rows: range, numbers: int, device: torch.device) -> torch.Tensor:
    """Draw standard normal numbers, float32 [steps, rows, numbers] (Box & Muller 1958). The largest possible magnitude is 6.8."""
    import torch

    a, b, c, d = words(seed, steps=steps, rows=rows, numbers=numbers, device=device)
    pairs = [value for radius, angle in ((a, b), (c, d)) for value in _box_muller(radius, angle)]
    return torch.cat(pairs, dim=-1)[..., :numbers]


def _box_muller(a: torch.Tensor, b: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Convert two independent words to two independent standard normal numbers, float32."""
    import torch

    uniform = (a.to(torch.float32) + 0.5) * 2.0**-32  # in (0, 1]
    radius = torch.sqrt(-2 * torch.log(uniform))
    angle = b.to(torch.float32) * (2 * math.pi * 2.0**-32)
    return radius * torch.cos(angle), radius * torch.sin(angle)


def integers(seed: int, below: int, *, step: int, rows: range, device: torch.device) -> torch.Tensor:
    """Draw an integer from 0 to `below` - 1 for each row, int64 [rows]. `below` is at most 2^31; the bias is below `below` / 2^32."""
    first, *_ = words(seed, steps=range(step, step + 1), rows=rows, numbers=1, device=device)
    return first[0, :, 0] * below >> 32
