"""How text samples look in a report."""

from __future__ import annotations

import re
from collections import Counter

from markupsafe import Markup

from ..common.core.pool import Pool

LONGEST = 600
"""Characters shown of a sample; a report is to be read."""
RUN = 4
"""So many words in a row that come again are marked."""


def show(pool: Pool) -> Markup:
    """HTML for the rows of a text pool, everything escaped; control characters are shown as what they are, and runs of words that
    come more than once in these rows are marked."""
    cut = [text[:LONGEST] + (" …" if len(text) > LONGEST else "") for text in pool.list("text")]
    visible = ["".join(char if char.isprintable() or char == " " else "\N{REPLACEMENT CHARACTER}" for char in text) for text in cut]
    rows = [re.split(r"(\s+)", text) for text in visible]  # words at even places, the space between them at odd ones
    runs = Counter(run for row in rows for run in _runs(row))
    return Markup("").join(Markup('<blockquote dir="auto">{}</blockquote>').format(_marked(row, runs)) for row in rows)


def _runs(row: list[str]) -> list[tuple[str, ...]]:
    words = [word.lower() for word in row[::2]]
    return [tuple(words[start : start + RUN]) for start in range(len(words) - RUN + 1)]


def _marked(row: list[str], runs: Counter[tuple[str, ...]]) -> Markup:
    again = [False] * len(row)
    for start, run in enumerate(_runs(row)):
        if runs[run] > 1:
            again[2 * start : 2 * (start + RUN) - 1] = [True] * (2 * RUN - 1)
    parts, start = [], 0
    for end in range(1, len(row) + 1):
        if end == len(row) or again[end] != again[start]:
            parts.append((Markup('<mark title="comes again">{}</mark>') if again[start] else Markup("{}")).format("".join(row[start:end])))
            start = end
    return Markup("").join(parts)
