"""From `claims.json` to one HTML file: which published claims hold here, and what each verdict rests on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...core.errors import UserError
from ..page import publish, render
from . import check_charts as checks
from . import claim_charts as curves
from .schema import VERDICTS, Check, Claim, ClaimsFile

BADGES = {"holds": "✓", "fails": "✗", "inconclusive": "?", "not run": "○"}
"""Verdicts are told apart without their colours."""
NUMBERS = ("measured", "low", "high", "relation", "expected", "reach", "rival", "z", "rival_z", "p", "chains", "verdict")
"""Of a check, in CSV."""


def about_claims(folders: Sequence[str | Path]) -> bool:
    """Whether folders ask for a report of claims: one that holds `claims.json`. UserError if they ask for more than one report."""
    holding = [str(folder) for folder in folders if (Path(folder) / "claims.json").is_file()]
    if holding and len(holding) < len(folders):
        other = next(str(folder) for folder in folders if str(folder) not in holding)
        raise UserError(f"{holding[0]} holds claims.json and {other} does not: a report is about claims or about runs, not about both")
    if len(holding) > 1:
        raise UserError(f"a report of claims is about one folder; {len(holding)} with claims.json were given: {', '.join(holding)}")
    return bool(holding)


def write_claims_report(source: str | Path, output: str | Path) -> None:
    """Write one self-contained HTML file about the claims that `reproduce` judged, from its `claims.json` alone.

    Raises UserError if the file is missing or says something else, or the page cannot be written.
    """
    found = ClaimsFile.read(source)
    everything = [check for claim in found.claims for check in claim.checks]
    page = render(
        "claims/page.html",
        styles=("style.css", "claims/claims.css"),
        claims=[_about(claim) for claim in found.claims],
        contradictions=found.contradictions,
        verdicts={claim.id: claim.verdict for claim in found.claims},
        tally=_tally(found),
        tested=sum(bool(claim.checks) for claim in found.claims),
        experiments=len({name for claim in found.claims if claim.checks for name in claim.experiments}),
        laws=sum(check.law for check in everything),
        orderings=sum(check.bound for check in everything),
        bands=sum(check.relation == "≈" for check in everything),
        allowed=checks.LAW,
        badges=BADGES,
        shapes=curves.PATHS,
        signed=checks.signed,
        chance=checks.chance,
        expected=checks.expected,
        tables={"claims": _verdicts(found), "checks": _checks(found)},
    )
    publish(page, output)


def _about(claim: Claim) -> dict[str, Any]:
    """All that the page says of one claim."""
    on_axes = [checks.against_laws(claim), checks.against_bounds(claim), checks.against_bands(claim)]
    return {"claim": claim, "picture": curves.picture(claim), "checks": [one for one in on_axes if one]}


def _tally(found: ClaimsFile) -> list[tuple[str, int, list[str]]]:
    """Each verdict, how many claims have it, and which."""
    counts = Counter(claim.verdict for claim in found.claims)
    return [(verdict, counts[verdict], [claim.id for claim in found.claims if claim.verdict == verdict]) for verdict in VERDICTS]


# ---- CSV: all digits; what is infinite or no number is an empty cell ---------------------------------------------------------


def _verdicts(found: ClaimsFile) -> list[list[Any]]:
    names = ("id", "says", "source", "verdict")
    lines = [
        [*(getattr(claim, name) for name in names), claim.holding, len(claim.checks), *_cells(claim.headline)] for claim in found.claims
    ]
    return [[*names, "checks_that_hold", "checks", "decided_by", *NUMBERS[:-1]], *lines]


def _cells(check: Check | None) -> list[Any]:
    return [check.about, *(getattr(check, name) for name in NUMBERS[:-1])] if check else []


def _checks(found: ClaimsFile) -> list[list[Any]]:
    lines = [[claim.id, *_cells(check), check.verdict] for claim in found.claims for check in claim.checks]
    return [["claim", "check", *NUMBERS], *lines]
