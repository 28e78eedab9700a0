"""All rows of the table, in the order in which they are measured."""

from __future__ import annotations

from . import commands, language
from .row import Row

ROWS: tuple[Row, ...] = (*language.ROWS, *commands.ROWS)
