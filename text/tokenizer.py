"""Byte-level BPE tokenizers. They encode every text, and decoding restores it exactly."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..common.core.errors import UserError

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerBase

END = "<|endoftext|>"
"""The special token of a tokenizer trained here. It ends rows; `causal-lm` also starts and pads rows with it."""


def train_bpe(texts: Sequence[str], vocabulary: int) -> Tokenizer:
    """Train a byte-level BPE tokenizer (Sennrich et al. 2016) of at most `vocabulary` entries, including the end token."""
    from tokenizers import ByteLevelBPETokenizer

    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(texts, vocab_size=vocabulary, special_tokens=[END], show_progress=False)
    return disable_cache(tokenizer._tokenizer)


def read_bpe(path: Path) -> Tokenizer:
    """Read a tokenizer that `Tokenizer.save` wrote."""
    from tokenizers import Tokenizer

    return disable_cache(Tokenizer.from_file(str(path)))


def load_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a pretrained model. UserError if the folder has none, or one that knows special tokens only.

    transformers creates such an empty tokenizer for some architectures if the files are missing.
    """
    from transformers import AutoTokenizer

    from ..common.training.pretrained import name_folder_in_errors

    with name_folder_in_errors(folder):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
        raise UserError(f"pretrained: {folder} has no tokenizer, or its tokenizer has an empty vocabulary")
    if tokenizer.is_fast:
        disable_cache(tokenizer.backend_tokenizer)
    return tokenizer


def disable_cache(tokenizer: Tokenizer) -> Tokenizer:
    """Turn off the word cache of a tokenizer and return the tokenizer.

    tokenizers 0.23 does not free the cache with its tokenizer. That is a leak of 0.5 MB or more per load, and a long chain loads
    thousands. Without the cache, encoding takes a quarter longer with 4,000 tokens and no longer with 300.
    """
    if hasattr(tokenizer.model, "_resize_cache"):  # only some model types have a cache
        tokenizer.model._resize_cache(0)
    return tokenizer
