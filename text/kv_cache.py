"""Fast forward passes for sampling: a cache of keys and values in contiguous memory, and attention of one new token per row."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import AttentionInterface, AttentionMaskInterface, DynamicCache
from transformers.cache_utils import DynamicLayer
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from .lm_network import Network

POSITIONS_PER_GROWTH = 32
"""Number of positions by which the memory of a cache layer grows."""
SINGLE_TOKEN = "autophagy_single_token"
"""The name under which `single_token_attention` is registered in transformers."""


class GrowingLayer(DynamicLayer):
    """Keys and values of one layer. Their memory grows by POSITIONS_PER_GROWTH positions at a time.

    Attention reads a view of the filled part. A `DynamicLayer` copies all keys and values for each new token. Attention over a
    `StaticCache` reads the empty positions too, and even skipping them is slow: on a CPU, memory with large gaps is read three times
    slower than memory without gaps.
    """

    def __init__(self, positions: int):
        super().__init__()
        self._positions, self._filled, self._capacity = positions, 0, 0

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Append keys and values, [rows, heads, tokens, size] each. Returns those of all tokens so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._key_buffer, self._value_buffer = (states[:, :, :0] for states in (key_states, value_states))
        start, self._filled = self._filled, self._filled + key_states.shape[2]
        if self._filled > self._capacity:
            self._capacity = min(self._positions, -(-self._filled // POSITIONS_PER_GROWTH) * POSITIONS_PER_GROWTH)
            self._key_buffer, self._value_buffer = (self._grown(buffer, start) for buffer in (self._key_buffer, self._value_buffer))
        self._key_buffer[:, :, start : self._filled] = key_states
        self._value_buffer[:, :, start : self._filled] = value_states
        self.keys, self.values = self._key_buffer[:, :, : self._filled], self._value_buffer[:, :, : self._filled]
        return self.keys, self.values

    def _grown(self, buffer: torch.Tensor, filled: int) -> torch.Tensor:
        rows, heads, _, size = buffer.shape
        grown = buffer.new_empty(rows, heads, self._capacity, size)
        grown[:, :, :filled] = buffer[:, :, :filled]
        return grown

    def keep_rows(self, rows: torch.Tensor) -> None:
        """Keep only these rows. `rows`: int64, on the device of the keys."""
        self._key_buffer, self._value_buffer = self._key_buffer[rows], self._value_buffer[rows]


def single_token_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Attention of one new token per row to all earlier ones, as two batched matrix products. Anything else goes to `sdpa` of torch.

    query [rows, heads, 1, size], key and value [rows, heads or fewer, tokens, size]. Returns [rows, 1, heads, size], as an
    attention function of transformers does. On a CPU this is two to four times as fast as the flash kernel of torch.
    """
    special = attention_mask is not None or any(kwargs.get(name) is not None for name in ("softcap", "position_bias", "s_aux"))
    if query.shape[2] != 1 or query.device.type != "cpu" or special:
        return sdpa_attention_forward(module, query, key, value, attention_mask, **kwargs)
    rows, heads, _, size = query.shape
    scaling = kwargs.get("scaling") or size**-0.5
    shared = query.reshape(rows, key.shape[1], -1, size)  # [rows, key heads, query heads of each, size]
    weights = torch.softmax(torch.matmul(shared * scaling, key.transpose(2, 3)), dim=-1)
    return torch.matmul(weights, value).reshape(rows, 1, heads, value.shape[-1]), None


AttentionInterface.register(SINGLE_TOKEN, single_token_attention)
AttentionMaskInterface.register(SINGLE_TOKEN, sdpa_mask)


@contextmanager
def fast_attention(network: Network) -> Iterator[None]:
    """Use `single_token_attention` for a block, if the network uses torch's `sdpa`."""
    before = network.weights.config._attn_implementation
    if before != "sdpa":
        yield
        return
    network.weights.set_attn_implementation(SINGLE_TOKEN)
    try:
        yield
    finally:
        network.weights.set_attn_implementation(before)


class CachedForward:
    """Calls a network on the next tokens of a batch of rows, with the keys and values of all earlier tokens in a cache.

    Models with sliding windows or recurrent layers keep the cache layers that transformers gives them.
    """

    def __init__(self, network: Network, *, positions: int):
        cache = DynamicCache(config=network.weights.config)
        self._layers: list[GrowingLayer] = []
        if all(type(layer) is DynamicLayer for layer in cache.layers):
            self._layers = [GrowingLayer(positions) for _ in cache.layers]
            cache.layers = list(self._layers)
        parameters = inspect.signature(network.weights.forward).parameters
        name = "cache" if "cache" in parameters else "past_key_values"  # the name differs between versions of transformers
        self._weights, self._arguments = network.weights, {name: cache}

    def __call__(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return the logits of the token after the last one of each row, float32 [rows, vocabulary]. `tokens`: int64 [rows, new]."""
        return self._weights(tokens, **self._arguments, use_cache=True, logits_to_keep=1).logits[:, -1].float()

    def keep_rows(self, rows: torch.Tensor) -> bool:
        """Keep only these rows in later calls. Returns False, and keeps all rows, if the layers of this model do not allow it."""
        for layer in self._layers:
            layer.keep_rows(rows)
        return bool(self._layers)


def bytes_per_row(network: Network, *, positions: int) -> int:
    """Estimate the memory of one row while it is sampled, in bytes: keys and values of all layers, and the logits of one token."""
    config = network.weights.config.get_text_config(decoder=True)
    heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // heads
    heads = getattr(config, "num_key_value_heads", None) or heads
    keys_and_values = 2 * 4 * config.num_hidden_layers * heads * size * positions
    return keys_and_values + 32 * network.vocabulary
