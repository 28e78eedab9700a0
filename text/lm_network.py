"""The weights and the tokenizer of a causal language model: how they are created, loaded, saved and applied to text.

`lm.py` imports this module, `lm_decoding.py` and `lm_scoring.py` inside its methods, because they import torch and transformers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedModel, PreTrainedTokenizerBase, PreTrainedTokenizerFast
from transformers.utils import logging

from ..common.core.device import device, seeded
from ..common.core.errors import UserError
from ..common.training.pretrained import check_positions, name_folder_in_errors
from .tokenizer import END, disable_cache, load_tokenizer, train_bpe

logging.disable_progress_bar()  # loading and saving take milliseconds here, and their bars would hide the progress of the run

IGNORED = -100
"""Target token that the cross-entropy leaves out."""

SMALL_LLAMA: Mapping[str, Any] = {
    "model_type": "llama",
    "hidden_size": 128,
    "intermediate_size": 352,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "tie_word_embeddings": True,
}
"""The default architecture: 0.7 million weights with a vocabulary of 2,048."""


@dataclass
class Network:
    """The weights of a causal language model with their tokenizer."""

    weights: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase

    @property
    def end(self) -> int:
        """The end token."""
        return self.tokenizer.eos_token_id

    @property
    def start(self) -> int:
        """The token that every sequence starts with: the tokenizer's start token or, if it has none (GPT-2), its end token."""
        start = self.tokenizer.bos_token_id
        return self.tokenizer.eos_token_id if start is None else start

    @property
    def vocabulary(self) -> int:
        """Number of tokens that the model has logits for."""
        return self.weights.config.vocab_size

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Return the tokens of each text, without start and end tokens."""
        return self.tokenizer(texts, add_special_tokens=False)["input_ids"]

    def decode(self, tokens: list[int]) -> str:
        """Return the text of a list of tokens."""
        text = self.tokenizer.decode(tokens, clean_up_tokenization_spaces=False)
        assert isinstance(text, str)  # a list of rows would give a list of texts
        return text

    def training_sequences(self, texts: Sequence[str], *, context: int, ends: bool) -> list[list[int]]:
        """Start token, tokens and, if `ends`, the end token of each text, truncated to `context` tokens after the start."""
        end = [self.end] if ends else []
        return [[self.start, *tokens, *end][: context + 1] for tokens in self.encode(texts)]

    def with_new_weights(self) -> Network:
        """Return the same architecture and tokenizer with weights drawn from torch's random state."""
        return Network(AutoModelForCausalLM.from_config(self.weights.config), self.tokenizer)

    def move_to(self, target: torch.device) -> None:
        """Move the weights to a device, in place."""
        weights: torch.nn.Module = self.weights  # the `to` of PreTrainedModel is declared without its first argument
        weights.to(target)

    def save(self, folder: Path) -> None:
        """Write a folder that transformers can load."""
        self.weights.save_pretrained(folder)
        self.tokenizer.save_pretrained(folder)


def new_network(texts: list[str], *, architecture: Mapping[str, Any] | None, vocabulary: int, context: int) -> Network:
    """Create a network with weights drawn from torch's random state and a tokenizer trained on `texts`.

    Raises UserError if transformers cannot build a model with these settings.
    """
    bpe = train_bpe(texts, vocabulary)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token=END, bos_token=END, pad_token=END)
    disable_cache(tokenizer.backend_tokenizer)
    end = tokenizer.eos_token_id
    settings = {"max_position_embeddings": context + 1, **(architecture or SMALL_LLAMA)}
    tokens = {"vocab_size": len(tokenizer), "bos_token_id": end, "eos_token_id": end, "pad_token_id": end}
    try:
        weights = AutoModelForCausalLM.from_config(AutoConfig.for_model(**settings, **tokens))
    except Exception as error:  # each architecture has its own rules for which settings fit together, and its own exceptions
        raise UserError(f"generator.architecture: transformers cannot build this model: {type(error).__name__}: {error}") from error
    return Network(weights, tokenizer)


def load_network(folder: Path, *, context: int) -> Network:
    """Load weights and tokenizer from a folder in Hugging Face format, in float32, onto this machine's device.

    Raises UserError if a file is missing or broken, if weights are missing, or if the model has fewer than `context` positions.
    """
    tokenizer = load_tokenizer(folder)
    tokenizer.model_max_length = int(1e9)  # rows are truncated to `context`, so transformers need not warn about long ones
    if tokenizer.eos_token_id is None:
        raise UserError(f"generator.pretrained: the tokenizer in {folder} has no end-of-text token")
    with seeded(0), name_folder_in_errors(folder):  # transformers draws weights before it reads them
        loaded: Any = AutoModelForCausalLM.from_pretrained(  # its declared type leaves out `output_loading_info`, which gives a pair
            folder, trust_remote_code=False, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    weights, report = loaded
    if missing := sorted(report["missing_keys"]):
        raise UserError(f"generator.pretrained: {folder} has no {missing[0]}, so these weights would be random")
    weights.to(device()).eval()
    check_positions(weights, tokens=context, setting="generator.context", folder=folder)
    return Network(weights, tokenizer)


def pad(sequences: Sequence[Sequence[int]], filler: int, *, width: int = 0) -> torch.Tensor:
    """Pad sequences on the right with `filler` to the length of the longest one, at least to `width`. Returns int64 [rows, width].

    Causal attention never looks to the right, so padding needs no attention mask.
    """
    width = max(width, *map(len, sequences))
    return torch.tensor([[*row, *[filler] * (width - len(row))] for row in sequences], device=device())
