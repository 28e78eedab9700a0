"""Words and n-grams of words. All text metrics, curations and feature models use these definitions.

A word is a run of letters, digits and apostrophes in lower case. It does not depend on the tokenizer.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from ..common.core.pool import Pool


def words(text: str) -> list[str]:
    """Return the words of a text."""
    return re.findall(r"[^\W_]+(?:'[^\W_]+)*", text.lower())


def ngrams(row: Sequence[str], n: int) -> list[tuple[str, ...]]:
    """Return the n-grams of a row of words. Empty if the row has fewer than n words."""
    return list(zip(*(row[shift:] for shift in range(n)), strict=False))


def rows_of_words(pool: Pool) -> list[list[str]]:
    """Return the words of every row."""
    return [words(text) for text in pool.list("text")]


def word_counts(pool: Pool) -> Counter[str]:
    """Count the occurrences of each word type in a pool."""
    return Counter(word for row in rows_of_words(pool) for word in row)


def ngram_counts(pool: Pool, n: int) -> Counter[str]:
    """Count the occurrences of each n-gram of words in a pool. An n-gram is written with spaces between its words."""
    return Counter(" ".join(gram) for row in rows_of_words(pool) for gram in ngrams(row, n))
