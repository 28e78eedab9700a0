"""Audits the training data: counts the rows that each fit used, by origin, and compares them with the mixture that the policy declares."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..components.generator import FitResult
from ..components.policy import ANY, Policy, expected_counts
from ..core.errors import UserError
from ..core.pool import REAL, Pool, count_by_generation
from .collect import CollectedPool

ROW_COUNT_TOLERANCE = 1e-3
"""Maximum deviation of a row count from the declared mixture, as a share of the training pool. One row is always accepted."""
TOLERANCE_TEXT = f"Allowed difference: {ROW_COUNT_TOLERANCE:.1%} of the training rows, at least one row"


def audit(train: Pool, fit: FitResult) -> Iterator[dict[str, Any]]:
    """Yield rows for rows.parquet about the training of one generation: steps, rows, units consumed, and their shares by origin.

    Units are tokens, images or samples. Metric names and unit names belong to the format of rows.parquet, so they must not change.
    """
    n, unit, generation, source = len(train), fit.unit, train.array("_generation"), train.array("_source")
    total = fit.consumed.sum()
    yield metric_row("steps", "cost", fit.steps, "optimizer steps", n=n)
    yield metric_row("rows_seen", "cost", fit.visit_counts.sum(), "rows x epochs", n=n)
    yield metric_row(f"trained_{unit}", "cost", total, f"{unit} x epochs", n=n)
    for name, value in fit.stats.items():
        yield metric_row(f"fit_{name}", "cost", value, "as the generator says", n=n)
    yield metric_row("real_share", "mixture", fit.consumed[generation == REAL].sum() / total, f"share of {unit}", n=n)
    yield metric_row("depth", "mixture", mean_depth(train, fit), "models between a row and reality", n=n)
    for number, count in count_by_generation(train).items():
        name = "real" if number == REAL else f"generation {number}"
        yield metric_row(f"trained_rows/{name}", "mixture", count, "rows", n=n)
        yield metric_row(f"trained_{unit}/{name}", "mixture", fit.consumed[generation == number].sum(), f"{unit} x epochs", n=n)
    for maker in sorted(set(source)):
        yield metric_row(f"source_share/{maker}", "mixture", fit.consumed[source == maker].sum() / total, f"share of {unit}", n=n)


def audit_collected(collected: CollectedPool) -> Iterator[dict[str, Any]]:
    """Yield rows for rows.parquet about collection: number of candidates, share kept by origin, and generated share of the pool."""
    n = len(collected.candidates)
    kept = np.zeros(n, dtype=bool)
    kept[collected.curation.rows] = True
    generated = collected.candidates.array("_generation") != REAL
    yield metric_row("candidates", "cost", n, "rows looked at", n=n)
    yield metric_row("kept_share", "mixture", kept.mean(), "share of candidates", n=n)
    for name, mask in (("made", generated), ("real", ~generated)):
        if mask.any():
            yield metric_row(f"kept_share/{name}", "mixture", kept[mask].mean(), "share of candidates", n=int(mask.sum()))
    pool_generated = collected.pool.array("_generation") != REAL
    yield metric_row("collected_made_share", "mixture", pool_generated.mean(), "share of rows", n=len(collected.pool))
    for name, value in collected.curation.stats.items():
        yield metric_row(f"curation_{name}", "mixture", value, "as the curation says", n=n)


def check_mixture(train: Pool, fit: FitResult, policy: Policy, *, name: str, size: int, generation: int) -> None:
    """Check the row counts of a policy and of its fit.

    The policy must pick the mixture that it declares, and the fit must use all pools in the proportions that the policy picked.
    Rows are counted by the generation of the pool that they were taken from. Raises UserError if a count deviates by more than one
    row and by more than ROW_COUNT_TOLERANCE. `name`: name of the arm, for messages.
    """
    if missing := {"_generation", "_collected", "_depth", "_source"} - set(train.table.column_names):
        raise UserError(
            f"policy '{name}' returned rows without the column {sorted(missing)[0]}; "
            "a policy must return rows of the pools that it receives, with all their columns"
        )
    collected = train.array("_collected")
    picked = {int(pool): int((collected == pool).sum()) for pool in np.unique(collected)}
    declared = expected_counts(policy, size=size, generation=generation)
    if declared is not None:
        declared = {pool: rows for pool, rows in declared.items() if rows}
        counted = {ANY: len(train)} if ANY in declared else picked
        for pool in sorted({*declared, *counted}):
            expected, rows = declared.get(pool, 0), counted.get(pool, 0)
            if _deviates(rows, expected, of=len(train)):
                raise UserError(
                    f"audit: policy '{name}' declares {expected:,} rows of {_pool_name(pool)} but picked {rows:,}. {TOLERANCE_TEXT}"
                )
    visits = int(fit.visit_counts.sum())
    for pool, rows in picked.items():
        share, used = visits * rows / len(train), int(fit.visit_counts[collected == pool].sum())
        if _deviates(used, share, of=visits):
            raise UserError(
                f"audit: policy '{name}' specifies {share:,.0f} rows of {_pool_name(pool)} (repeats counted); "
                f"the fit used {used:,}. {TOLERANCE_TEXT}"
            )


def _deviates(count: float, expected: float, *, of: int) -> bool:
    return abs(count - expected) > max(1 + 1e-9, ROW_COUNT_TOLERANCE * of)


def mean_depth(train: Pool, fit: FitResult) -> float:
    """Compute the mean number of models between a training row and real data, weighted by consumed units. Real rows count 0."""
    return float((train.array("_depth") * fit.consumed).sum() / fit.consumed.sum())


def metric_row(
    metric: str, axis: str, value: float, unit: str, higher_is_better: bool | None = None, *, n: int, floors: Sequence[float] = ()
) -> dict[str, Any]:
    """Build one row of rows.parquet. `n` is the number of rows that the value was computed from. Floors become a mean and a std."""
    return {
        "metric": metric, "axis": axis, "value": float(value), "unit": unit, "higher_is_better": higher_is_better,
        "floor": float(np.mean(floors)) if floors else None, "floor_sd": float(np.std(floors, ddof=1)) if len(floors) > 1 else None, "n": n,
    }  # fmt: skip


def _pool_name(pool: int) -> str:
    return {REAL: "real data", ANY: "any pool"}.get(pool, f"generation {pool}'s pool")
