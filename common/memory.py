"""What fits into this machine's memory, asked before it is tried: a number with a few zeros too many is told so at once."""

from __future__ import annotations

import psutil

from .errors import UserError

MEGABYTE = 10**6
SHARE = 0.25
"""Share of the memory that data may take: splits are copies of it, and models and features need room beside them."""


def refuse_beyond_memory(n_bytes: int, *, what: str) -> None:
    """UserError if data of so many bytes would take more than its share of the memory there is."""
    most = int(SHARE * psutil.virtual_memory().total)
    if n_bytes > most:
        raise UserError(
            f"{what} would take {n_bytes // MEGABYTE:,} MB; an experiment's data may take {most // MEGABYTE:,} MB on this machine"
        )
