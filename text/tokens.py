"""Byte-level BPE tokens: every text has them, and nothing is lost on the way there and back."""

from __future__ import annotations

from collections.abc import Sequence

from tokenizers import ByteLevelBPETokenizer, Tokenizer

END = "<|endoftext|>"


def train_bpe(texts: Sequence[str], vocabulary: int) -> Tokenizer:
    """A byte-level BPE tokenizer of at most `vocabulary` entries, the end token among them (Sennrich et al. 2016)."""
    tokenizer = ByteLevelBPETokenizer()
    tokenizer.train_from_iterator(texts, vocab_size=vocabulary, special_tokens=[END], show_progress=False)
    return tokenizer._tokenizer
