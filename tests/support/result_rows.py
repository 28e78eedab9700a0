"""Creates rows in the format of rows.parquet, for tests of summaries and reports."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def metric_rows(
    metric: str,
    by_policy: Mapping[str, Sequence[Sequence[float]]],
    *,
    axis: str = "likelihood",
    unit: str = "u",
    better: bool | None = False,
    floor: float | None = 1.0,
    floor_sd: float | None = 0.0,
) -> list[dict[str, Any]]:
    """Create the rows of one metric. `by_policy[policy][seed]` is the list of values by generation."""
    constants = {"metric": metric, "axis": axis, "unit": unit, "higher_is_better": better, "floor": floor, "floor_sd": floor_sd}
    return [
        {**constants, "n": 9, "generator": "g", "policy": policy, "seed": seed, "generation": generation, "value": value}
        for policy, chains in by_policy.items()
        for seed, values in enumerate(chains)
        for generation, value in enumerate(values)
    ]


def as_columns(*parts: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Concatenate lists of rows and return the columns by name."""
    rows = [row for part in parts for row in part]
    return {name: [row[name] for row in rows] for name in rows[0]} if rows else {}
