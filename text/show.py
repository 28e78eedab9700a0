"""How text samples look in a report."""

from __future__ import annotations

from markupsafe import Markup

from ..common.pool import Pool

LONGEST = 600
"""Characters shown of a sample; a report is to be read."""


def show(pool: Pool) -> Markup:
    """HTML for the rows of a text pool, everything escaped; control characters are shown as what they are."""
    rows = []
    for text in pool.list("text"):
        cut = text[:LONGEST] + (" …" if len(text) > LONGEST else "")
        visible = "".join(char if char.isprintable() or char == " " else "\N{REPLACEMENT CHARACTER}" for char in cut)
        rows.append(Markup('<blockquote dir="auto">{}</blockquote>').format(visible))
    return Markup("").join(rows)
