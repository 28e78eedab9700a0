"""The audit: what a generation was really trained on, counted from the fit itself and held against what was asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..components.generator import FitResult
from ..components.policy import ANY, Policy, expected_counts
from ..core.errors import UserError
from ..core.pool import REAL, Pool, count_by_generation
from .collect import CollectedPool

DRIFT = 1e-3
"""Largest share by which what was trained on may differ from what was asked, if it is more than one row."""


def audit(train: Pool, fitted: FitResult) -> Iterator[dict[str, Any]]:
    """Rows saying what a generation was really trained on, in rows and in the unit its optimizer consumed."""
    n, unit, born, source = len(train), fitted.unit, train.array("_generation"), train.array("_source")
    total = fitted.consumed.sum()
    yield metric_row("steps", "cost", fitted.steps, "optimizer steps", n=n)
    yield metric_row("rows_seen", "cost", fitted.visit_counts.sum(), "rows x epochs", n=n)
    yield metric_row(f"trained_{unit}", "cost", total, f"{unit} x epochs", n=n)
    for name, value in fitted.stats.items():
        yield metric_row(f"fit_{name}", "cost", value, "as the generator says", n=n)
    yield metric_row("real_share", "mixture", fitted.consumed[born == REAL].sum() / total, f"share of {unit}", n=n)
    yield metric_row("depth", "mixture", mean_depth(train, fitted), "models between a row and reality", n=n)
    for birth, count in count_by_generation(train).items():
        name = "real" if birth == REAL else f"generation {birth}"
        yield metric_row(f"trained_rows/{name}", "mixture", count, "rows", n=n)
        yield metric_row(f"trained_{unit}/{name}", "mixture", fitted.consumed[born == birth].sum(), f"{unit} x epochs", n=n)
    for maker in sorted(set(source)):
        yield metric_row(f"source_share/{maker}", "mixture", fitted.consumed[source == maker].sum() / total, f"share of {unit}", n=n)


def audit_collected(collected: CollectedPool) -> Iterator[dict[str, Any]]:
    """Rows saying what was looked at for the pool of a generation, what was kept, and whether real or made."""
    n, kept = len(collected.candidates), np.zeros(len(collected.candidates), dtype=bool)
    kept[collected.kept.rows] = True
    generated = collected.candidates.array("_generation") != REAL
    yield metric_row("candidates", "cost", n, "rows looked at", n=n)
    yield metric_row("kept_share", "mixture", kept.mean(), "share of candidates", n=n)
    for name, which in (("made", generated), ("real", ~generated)):
        if which.any():
            yield metric_row(f"kept_share/{name}", "mixture", kept[which].mean(), "share of candidates", n=int(which.sum()))
    pool_generated = collected.pool.array("_generation") != REAL
    yield metric_row("collected_made_share", "mixture", pool_generated.mean(), "share of rows", n=len(collected.pool))
    for name, value in collected.kept.stats.items():
        yield metric_row(f"curation_{name}", "mixture", value, "as the curation says", n=n)


def check_mixture(train: Pool, fitted: FitResult, policy: Policy, *, size: int, generation: int) -> None:
    """UserError if a policy took other rows than it says it takes, or a fit saw some pools more than others.

    Counted by the generation whose pool a row was taken from. More than one row *and* more than 0.1 % is a drift.
    """
    if missing := {"_generation", "_collected", "_depth", "_source"} - set(train.table.column_names):
        raise UserError(f"the policy gave rows without the note {sorted(missing)[0]}; rows are taken from the pools it is given, not made")
    collected = train.array("_collected")
    taken = {int(pool): int((collected == pool).sum()) for pool in np.unique(collected)}
    declared = expected_counts(policy, size=size, generation=generation)
    if declared is not None:
        declared = {pool: rows for pool, rows in declared.items() if rows}
        found = {ANY: len(train)} if ANY in declared else taken
        for pool in sorted({*declared, *found}):
            refuse(
                found.get(pool, 0),
                declared.get(pool, 0),
                of=len(train),
                what=f"rows of {_named(pool)}",
                by="the policy says it takes",
            )
    passes = int(fitted.visit_counts.sum())
    for pool, rows in taken.items():
        fair = passes * rows / len(train)
        refuse(
            fitted.visit_counts[collected == pool].sum(),
            fair,
            of=passes,
            what=f"rows x epochs of {_named(pool)}",
            by="the mixture asks for",
        )


def refuse(found: float, expected_counts: float, *, of: int, what: str, by: str) -> None:
    if abs(found - expected_counts) > max(1 + 1e-9, DRIFT * of):
        raise UserError(f"audit: {found:g} {what} were trained on, {by} {expected_counts:g}; the numbers would not mean what they say")


def mean_depth(train: Pool, fitted: FitResult) -> float:
    """How many models lie between a training row and reality, averaged over what the optimizer consumed; 0 for real rows."""
    return float((train.array("_depth") * fitted.consumed).sum() / fitted.consumed.sum())


def metric_row(
    metric: str, axis: str, value: float, unit: str, higher_is_better: bool | None = None, *, n: int, floors: Sequence[float] = ()
) -> dict[str, Any]:
    """One tidy row: a single number, what it means, the mean and scatter of its floors, and how many rows it was read off."""
    return {
        "metric": metric, "axis": axis, "value": float(value), "unit": unit, "higher_is_better": higher_is_better,
        "floor": float(np.mean(floors)) if floors else None, "floor_sd": float(np.std(floors, ddof=1)) if len(floors) > 1 else None, "n": n,
    }  # fmt: skip


def _named(pool: int) -> str:
    return {REAL: "real data", ANY: "any pool"}.get(pool, f"generation {pool}'s pool")
