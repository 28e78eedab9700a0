"""All checks of a claim on one axis, and what is said of them in words."""

from __future__ import annotations

from collections.abc import Sequence
from math import copysign, isinf, isnan
from typing import Any

import altair
import pandas

from ..page import short, typeset
from ..runs.charts import FLOOR, finished
from .schema import Check, Claim

LAW = 4
"""Standard errors that a law is allowed (`tests/test_claims_report.py` holds this against the judges' own)."""
EDGE = 6
"""Standard errors at which the axis of laws ends; what is farther away is pinned there, with its number."""
BANDS = 3
"""Half bands at which the axis of published numbers ends."""
ROW, BELOW = 32, 8
"""Height of a row of checks in pixels, and how far below its middle the marks are: its name stands above them, for a phone has no
room beside them."""
MARKS = {"holds": ("circle", "#009E73"), "inconclusive": ("diamond", "#E69F00"), "fails": ("cross", "#D55E00")}
"""Verdicts differ by shape as well as by colour."""


def against_laws(claim: Claim) -> dict[str, Any] | None:
    """How far each number is from its law, a row for each number whatever the generation; None if the claim has no law."""
    checks = [check for check in claim.checks if check.law and not isnan(check.away)]
    if not checks:
        return None
    rows = [{"row": check.about.rpartition(", generation ")[0] or check.about, **_said(check), **_pinned(check)} for check in checks]
    x = altair.X("place:Q", title="standard errors from the law", scale=altair.Scale(domain=[-EDGE - 0.5, EDGE + 0.5], nice=False),
                 axis=altair.Axis(values=[-LAW, -2, 0, 2, LAW], grid=False))  # fmt: skip
    pins = (
        _chart(rows).mark_text(yOffset=BELOW, dx=-7, align="right", baseline="middle", fontSize=10).encode(x=x, y=_row(rows), text="pin:N")
    )
    return {
        "name": f"{claim.id} laws",
        "title": "Against laws",
        "unit": f"a point for each check · grey: within {LAW} standard errors",
        "spec": _finished(_lane(rows, -LAW, LAW), *_named(rows), _points(rows, x), pins, rows=rows),
    }


def against_bounds(claim: Claim) -> dict[str, Any] | None:
    """Where each interval lies from its bound, turned so that right of it is as claimed; None if the claim has no ordering.

    Numbers of different units share the axis: each has a scale of its own, on which the farther end of its interval is 1 away.
    """
    checks = [check for check in claim.checks if check.bound and check.measured is not None and check.expected is not None]
    if not checks:
        return None
    rows = [{"row": check.about, **_said(check), **_scaled(check)} for check in checks]
    x = altair.X("place:Q", title="against the claim ← bound → as claimed", scale=altair.Scale(domain=[-1.05, 1.05], nice=False),
                 axis=altair.Axis(values=[], grid=False))  # fmt: skip
    bars = _chart(rows).mark_rule(strokeWidth=2, yOffset=BELOW).encode(x="low:Q", x2="high:Q", y=_row(rows), color=_verdict(altair.Color))
    return {
        "name": f"{claim.id} bounds",
        "title": "Against bounds",
        "unit": "95 % intervals, each row on a scale of its own",
        "spec": _finished(_lane(rows, -1, 0), *_named(rows), bars, _points(rows, x), rows=rows),
    }


def against_bands(claim: Claim) -> dict[str, Any] | None:
    """Where each interval lies in the band around a published number, on a scale of half the band; None if there is no such number."""
    checks = [check for check in claim.checks if check.relation == "≈" and check.measured is not None and check.expected is not None]
    if not checks:
        return None
    rows = [{"row": check.about, **_said(check), **_banded(check)} for check in checks]
    x = altair.X("place:Q", title="band ends from what was published", scale=altair.Scale(domain=[-BANDS, BANDS], nice=False),
                 axis=altair.Axis(values=[-1, 0, 1], grid=False))  # fmt: skip
    bars = _chart(rows).mark_rule(strokeWidth=2, yOffset=BELOW).encode(x="low:Q", x2="high:Q", y=_row(rows), color=_verdict(altair.Color))
    return {
        "name": f"{claim.id} bands",
        "title": "Against published numbers",
        "unit": "95 % intervals · grey: the band that counts as agreement",
        "spec": _finished(_lane(rows, -1, 1), *_named(rows), bars, _points(rows, x), rows=rows),
    }


def _banded(check: Check) -> dict[str, float]:
    """A measured number and its interval from the published one, in shares of the band's reach; what is farther out is at the edge."""
    ends = [check.measured if end is None else end for end in (check.low, check.high)]
    place, low, high = [max(-BANDS, min(BANDS, (value - check.expected) / check.reach)) for value in (check.measured, *ends)]
    return {"place": place, "low": low, "high": high}


def _said(check: Check) -> dict[str, str]:
    """What hovering says of a check."""
    rival = "" if check.rival is None else f"{typeset(check.rival)}, {signed(check.rival_away)} standard errors away"
    return {
        "check": check.about,
        "verdict": check.verdict,
        "measured": typeset(check.measured),
        "interval": f"{typeset(check.low)} to {typeset(check.high)}",
        "expected": expected(check),
        "rival": rival or "–",
        "z": signed(check.away),
        "p": chance(check.p),
        "chains": str(check.chains),
    }


def _pinned(check: Check) -> dict[str, Any]:
    """A place on the axis of laws and, if it does not lie there, how far it is."""
    place = check.likeness
    return {"place": place, "pin": ""} if abs(place) <= EDGE else {"place": copysign(EDGE, place), "pin": signed(check.away)}


def _scaled(check: Check) -> dict[str, float]:
    """A measured number and its interval from the bound, as claimed to the right, in shares of the farthest of them."""
    towards = 1 if check.relation == ">" else -1
    ends = [check.measured if end is None else end for end in (check.low, check.high)]
    place, *ends = [towards * (value - check.expected) for value in (check.measured, *ends)]
    farthest = max(abs(place), *map(abs, ends)) or 1.0
    return {"place": place / farthest, "low": min(ends) / farthest, "high": max(ends) / farthest}


def _lane(rows: Sequence[dict[str, Any]], low: float, high: float) -> altair.Chart:
    """The ground under each row's marks: where a law holds, or a claim does not."""
    ground = _chart([{"row": name, "from": low, "to": high} for name in _order(rows)])
    return ground.mark_bar(color=FLOOR, opacity=0.2, size=14, yOffset=BELOW).encode(x="from:Q", x2="to:Q", y=_row(rows))


def _named(rows: Sequence[dict[str, Any]]) -> list[altair.Chart]:
    """Each row's name above its marks, and a tick at 0."""
    named = _chart([{"row": name, "zero": 0} for name in _order(rows)]).encode(y=_row(rows))
    names = named.mark_text(align="left", baseline="middle", dy=-8, fontSize=11, limit={"expr": "width"}).encode(
        x=altair.value(0), text="row:N"
    )
    return [named.mark_tick(color=FLOOR, thickness=1.5, size=14, orient="vertical", yOffset=BELOW).encode(x="zero:Q"), names]


def _points(rows: Sequence[dict[str, Any]], x: altair.X) -> altair.Chart:
    fields = ("check", "verdict", "measured", "interval", "expected", "rival", "z", "p", "chains")
    look = {"color": _verdict(altair.Color), "shape": _verdict(altair.Shape), "tooltip": [altair.Tooltip(f"{field}:N") for field in fields]}
    return _chart(rows).mark_point(filled=True, size=70, opacity=0.85, yOffset=BELOW).encode(x=x, y=_row(rows), **look)


def _chart(rows: Sequence[dict[str, Any]]) -> altair.Chart:
    return altair.Chart(pandas.DataFrame(rows))


def _order(rows: Sequence[dict[str, Any]]) -> list[str]:
    return list(dict.fromkeys(row["row"] for row in rows))


def _row(rows: Sequence[dict[str, Any]]) -> altair.Y:
    return altair.Y("row:N", sort=_order(rows), axis=None)


def _verdict(channel: type) -> Any:
    place = 0 if channel is altair.Shape else 1
    return channel("verdict:N", legend=None, scale=altair.Scale(domain=list(MARKS), range=[look[place] for look in MARKS.values()]))


def _finished(*layers: altair.Chart, rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    return finished(altair.layer(*layers), ROW * len(_order(rows)))


# ---- numbers in words --------------------------------------------------------------------------------------------------


def expected(check: Check, digits: int = 4) -> str:
    """What a number is held against: `= 0.668`, `> 0`, `≈ 29.6 ± 3`."""
    band = "" if check.reach is None else f" ± {typeset(check.reach, 2)}"
    return f"{check.relation} {typeset(check.expected, digits)}{band}"


def signed(value: float) -> str:
    """A distance in standard errors, with its sign."""
    if isnan(value):
        return "–"
    return ("+" if value > 0 else "−" if value < 0 else "") + ("∞" if isinf(value) else short(abs(value)))


def chance(p: float | None) -> str:
    """A probability; what floating point holds for 0 is small, not nothing."""
    return "–" if p is None else "< 1e−300" if p == 0 else typeset(p, 2)
