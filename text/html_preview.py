"""HTML previews of text samples, for reports."""

from __future__ import annotations

import re
from collections import Counter

from markupsafe import Markup

from ..common.core.pool import Pool

MAX_CHARACTERS = 600
"""Characters shown of a sample. Longer ones are cut."""
REPEATED_WORDS = 4
"""Sequences of this many words that occur more than once are highlighted."""


def show(pool: Pool) -> Markup:
    """Return HTML for the rows of a text pool, one block quote each.

    Everything is escaped, and control characters are replaced by a visible symbol. Sequences of words that occur more than once in
    these rows are highlighted.
    """
    cut = [text[:MAX_CHARACTERS] + (" …" if len(text) > MAX_CHARACTERS else "") for text in pool.list("text")]
    printable = ["".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text) for text in cut]
    rows = [re.split(r"(\s+)", text) for text in printable]  # words at even places, the space between them at odd places
    counts = Counter(sequence for row in rows for sequence in _sequences(row))
    return Markup("").join(Markup('<blockquote dir="auto">{}</blockquote>').format(_highlight(row, counts)) for row in rows)


def _sequences(row: list[str]) -> list[tuple[str, ...]]:
    """Return all sequences of REPEATED_WORDS words of a row, in lower case."""
    words = [word.lower() for word in row[::2]]
    return [tuple(words[start : start + REPEATED_WORDS]) for start in range(len(words) - REPEATED_WORDS + 1)]


def _highlight(row: list[str], counts: Counter[tuple[str, ...]]) -> Markup:
    """Return the row with its repeated sequences in `<mark>` elements. Overlapping sequences become one element."""
    repeated = [False] * len(row)
    for start, sequence in enumerate(_sequences(row)):
        if counts[sequence] > 1:
            repeated[2 * start : 2 * (start + REPEATED_WORDS) - 1] = [True] * (2 * REPEATED_WORDS - 1)
    parts, start = [], 0
    for end in range(1, len(row) + 1):
        if end == len(row) or repeated[end] != repeated[start]:
            element = Markup('<mark title="repeated">{}</mark>') if repeated[start] else Markup("{}")
            parts.append(element.format("".join(row[start:end])))
            start = end
    return Markup("").join(parts)
