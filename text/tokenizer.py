"""Byte-level BPE tokens: every text has them, and nothing is lost on the way there and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import ByteLevelBPETokenizer, Tokenizer

from ..common.core.errors import UserError

END = "<|endoftext|>"


def train_bpe(texts: Sequence[str], vocabulary: int) -> Tokenizer:
    """A byte-level BPE tokenizer of at most `vocabulary` entries, the end token among them (Sennrich et al. 2016)."""
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(texts, vocab_size=vocabulary, special_tokens=[END], show_progress=False)
    return without_memory(tokenizer._tokenizer)


def without_memory(tokenizer: Tokenizer) -> Tokenizer:
    """The same tokenizer, told to remember no words it has cut up.

    The library (0.23) does not give back what a tokenizer remembers when that goes: half a megabyte and more for each of those that a long
    chain loads. Cutting a word up again costs little: a quarter more time with 4,000 tokens, none with 300.
    """
    if hasattr(tokenizer.model, "_resize_cache"):  # those that remember
        tokenizer.model._resize_cache(0)
    return tokenizer


def pretrained_tokenizer(folder: Path) -> Any:
    """The tokenizer of a checkpoint; UserError if it has none. For some architectures transformers then makes one that knows no word."""
    from transformers import AutoTokenizer

    from ..common.training.pretrained import reading

    with reading(folder):
        tokenizer = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
    if set(tokenizer.get_vocab()) <= set(tokenizer.all_special_tokens):
        raise UserError(f"pretrained: {folder} has no tokenizer, or one without words")
    if tokenizer.is_fast:
        without_memory(tokenizer.backend_tokenizer)
    return tokenizer
