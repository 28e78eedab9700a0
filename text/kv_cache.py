"""The keys and values of earlier tokens during sampling, in memory that is allocated once."""

from __future__ import annotations

import inspect
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer

from .lm_network import Network


class PreallocatedLayer(DynamicLayer):
    """Keys and values of one layer, in a buffer for `positions` tokens.

    Attention reads a view of the filled part. A `DynamicLayer` copies all keys and values for each new token, and attention over a
    `StaticCache` reads the empty positions too.
    """

    def __init__(self, positions: int):
        super().__init__()
        self._positions, self._filled = positions, 0

    def update(self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, **kwargs: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Append keys and values, [rows, heads, tokens, size] each. Returns those of all tokens so far."""
        if not self.is_initialized:
            self.lazy_initialization(key_states, value_states)
            self._key_buffer, self._value_buffer = (self._buffer(states) for states in (key_states, value_states))
        start, self._filled = self._filled, self._filled + key_states.shape[2]
        self._key_buffer[:, :, start : self._filled] = key_states
        self._value_buffer[:, :, start : self._filled] = value_states
        self.keys, self.values = self._key_buffer[:, :, : self._filled], self._value_buffer[:, :, : self._filled]
        return self.keys, self.values

    def _buffer(self, states: torch.Tensor) -> torch.Tensor:
        rows, heads, _, size = states.shape
        return states.new_empty(rows, heads, self._positions, size)

    def keep_rows(self, rows: torch.Tensor) -> None:
        """Keep only these rows. `rows`: int64, on the device of the keys."""
        self._key_buffer, self._value_buffer = self._key_buffer[rows], self._value_buffer[rows]


class CachedForward:
    """Calls a network on the next tokens of a batch of rows, with the keys and values of all earlier tokens in a cache.

    Models with sliding windows or recurrent layers keep the cache layers that transformers gives them.
    """

    def __init__(self, network: Network, *, positions: int):
        cache = DynamicCache(config=network.weights.config)
        self._layers: list[PreallocatedLayer] = []
        if all(type(layer) is DynamicLayer for layer in cache.layers):
            self._layers = [PreallocatedLayer(positions) for _ in cache.layers]
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
