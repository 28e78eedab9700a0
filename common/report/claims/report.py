"""Report of re-tested claims: one HTML file, built from `claims.json`, with the verdict on each claim and its evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from math import isfinite
from pathlib import Path
from typing import Any

from ...core.errors import UserError
from ...replication.schema import VERDICTS, Check, ClaimResult, ClaimsFile, Verdict
from ..page import publish, render
from . import check_charts, claim_charts

BADGES = {"holds": "✓", "fails": "✗", "inconclusive": "?", "not run": "○"}
"""Symbols of the verdicts, so that verdicts differ not only by colour."""
CHECK_COLUMNS = (
    "measured", "low", "high", "relation", "expected", "half_width", "alternative", "z", "alternative_z", "p", "chains",
)  # fmt: skip
"""Columns of a check in the CSV files."""


def about_claims(folders: Sequence[str | Path]) -> bool:
    """Return True for one folder with `claims.json`, False for run folders.

    Raises UserError if both kinds of folders are mixed, or if several folders contain `claims.json`.
    """
    with_claims = [str(folder) for folder in folders if (Path(folder) / "claims.json").is_file()]
    if with_claims and len(with_claims) < len(folders):
        other = next(str(folder) for folder in folders if str(folder) not in with_claims)
        raise UserError(f"{with_claims[0]} contains claims.json, but {other} does not; make separate reports of claims and of runs")
    if len(with_claims) > 1:
        raise UserError(f"{len(with_claims)} folders contain claims.json ({', '.join(with_claims)}); pass only one of them")
    return bool(with_claims)


def write_claims_report(source: str | Path, output: str | Path) -> None:
    """Write a self-contained HTML file about the claims in a `claims.json`.

    Raises UserError if the file is missing or invalid, or if the page cannot be written.
    """
    file = ClaimsFile.read(source)
    checks = [check for claim in file.claims for check in claim.checks]
    page = render(
        "claims/page.html",
        styles=("style.css", "claims/claims.css"),
        claims=[_section(claim) for claim in file.claims],
        contradictions=file.contradictions,
        verdicts={claim.id: claim.verdict for claim in file.claims},
        tally=_tally(file.claims),
        tested=sum(bool(claim.checks) for claim in file.claims),
        experiments=len({name for claim in file.claims if claim.checks for name in claim.experiments}),
        laws=sum(check.is_law for check in checks),
        bounds=sum(check.is_bound for check in checks),
        bands=sum(check.is_band for check in checks),
        law_standard_errors=check_charts.LAW,
        badges=BADGES,
        shapes=claim_charts.SHAPE_PATHS,
        signed=check_charts.signed,
        probability=check_charts.probability,
        expected=check_charts.expected,
        tables={"claims": _verdict_table(file.claims), "checks": _check_table(file.claims)},
    )
    publish(page, output)


def _section(claim: ClaimResult) -> dict[str, Any]:
    """Return the content of the section of one claim: the claim, its figure and the charts of its checks."""
    charts = [check_charts.law_chart(claim), check_charts.bound_chart(claim), check_charts.band_chart(claim)]
    return {"claim": claim, "figure": claim_charts.figure_chart(claim), "checks": [chart for chart in charts if chart]}


def _tally(claims: Sequence[ClaimResult]) -> list[tuple[Verdict, int, list[str]]]:
    """Return for each verdict the number of claims that have it, and their ids."""
    counts = Counter(claim.verdict for claim in claims)
    return [(verdict, counts[verdict], [claim.id for claim in claims if claim.verdict == verdict]) for verdict in VERDICTS]


# ---- CSV with all digits; infinite and missing numbers are empty cells ----------------------------------------------------------


def _verdict_table(claims: Sequence[ClaimResult]) -> list[list[Any]]:
    columns = ("id", "statement", "source", "verdict")
    lines = [
        [*(getattr(claim, name) for name in columns), claim.holding, len(claim.checks), *_check_cells(claim.headline)] for claim in claims
    ]
    return [[*columns, "checks_that_hold", "checks", "decided_by", *CHECK_COLUMNS], *lines]


def _check_table(claims: Sequence[ClaimResult]) -> list[list[Any]]:
    lines = [[claim.id, *_check_cells(check), check.verdict] for claim in claims for check in claim.checks]
    return [["claim", "check", *CHECK_COLUMNS, "verdict"], *lines]


def _check_cells(check: Check | None) -> list[Any]:
    if check is None:
        return []
    values = (getattr(check, name) for name in CHECK_COLUMNS)
    return [check.label, *(None if isinstance(value, float) and not isfinite(value) else value for value in values)]
