"""All rows of the table, in the order in which they are measured."""

from __future__ import annotations

from . import commands, diffusion, engine, grid, lm_fit, lm_sampling, metrics, photographs
from .row import Row

ROWS: tuple[Row, ...] = (
    *lm_sampling.ROWS,
    *lm_fit.ROWS,
    *diffusion.ROWS,
    *metrics.ROWS,
    *photographs.ROWS,
    *engine.ROWS,
    *grid.ROWS,
    *commands.ROWS,
)
