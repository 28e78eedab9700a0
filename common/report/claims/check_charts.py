"""Charts of the checks of a claim, one for each kind of comparison, and functions that format checks as text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import copysign, isinf, isnan
from typing import Any

from ...replication.schema import LAW_STANDARD_ERRORS, Check, ClaimResult
from ..charts import FLOOR, Row, Spec, layer, layered, nominal, quantitative, scale, short, typeset

LAW = int(LAW_STANDARD_ERRORS)
LAW_AXIS_END = 6
"""End of the axis of laws, in standard errors. Larger distances are drawn at the end, labelled with their value."""
BAND_AXIS_END = 3
"""End of the axis of published numbers, in half-widths of the band."""
ROW_HEIGHT, MARK_OFFSET = 32, 8
"""Height of a row of checks and downward shift of the marks from its middle, in pixels. The label is above the marks because a phone has
no room next to them."""
VERDICT_MARKS = {"holds": ("circle", "#009E73"), "inconclusive": ("diamond", "#E69F00"), "fails": ("cross", "#D55E00")}
"""Shape and colour of the mark of each verdict."""
TOOLTIP = ("check", "verdict", "measured", "interval", "expected", "alternative", "z", "p", "chains")


def law_chart(claim: ClaimResult) -> dict[str, Any] | None:
    """Chart of the distance of each number from its law. A row shows all generations of a number. None if the claim has no law."""
    checks = [check for check in claim.checks if check.is_law and not isnan(check.z)]
    axis = {"title": "standard errors from the law", "axis": {"values": [-LAW, -2, 0, 2, LAW], "grid": False}}
    pins = layer(
        "text", {"x": quantitative("place", **axis), "text": nominal("pin")}, data="checks",
        yOffset=MARK_OFFSET, dx=-7, align="right", baseline="middle", fontSize=10,
    )  # fmt: skip
    return _chart(
        checks,
        _law_place,
        row_of=lambda check: check.label.rpartition(", generation ")[0] or check.label,
        name=f"{claim.id} laws",
        title="Against laws",
        unit=f"a point for each check · grey: within {LAW} standard errors",
        axis=axis,
        domain=(-LAW_AXIS_END - 0.5, LAW_AXIS_END + 0.5),
        grey=(-LAW, LAW),
        extra=[pins],
    )


def bound_chart(claim: ClaimResult) -> dict[str, Any] | None:
    """Chart of the distance of each interval from its bound. The claimed side is on the right. None if the claim has no bound.

    Numbers have different units, so each row has its own scale. The end of the interval that is farther from the bound is at 1 or -1.
    """
    return _chart(
        [check for check in claim.checks if check.is_bound and check.has_place],
        _bound_place,
        name=f"{claim.id} bounds",
        title="Against bounds",
        unit="95 % intervals, each row on its own scale",
        axis={"title": "against the claim ← bound → as claimed", "axis": {"values": [], "grid": False}},
        domain=(-1.05, 1.05),
        grey=(-1, 0),
        extra=[_intervals()],
    )


def band_chart(claim: ClaimResult) -> dict[str, Any] | None:
    """Chart of the position of each interval in the band around a published number. The unit is the half-width of the band.

    None if the claim has no band.
    """
    return _chart(
        [check for check in claim.checks if check.is_band and check.has_place],
        _band_place,
        name=f"{claim.id} bands",
        title="Against published numbers",
        unit="95 % intervals · grey: the band that counts as agreement",
        axis={"title": "half-widths of the band from the published number", "axis": {"values": [-1, 0, 1], "grid": False}},
        domain=(-BAND_AXIS_END, BAND_AXIS_END),
        grey=(-1, 1),
        extra=[_intervals()],
    )


# ---- places on the axes --------------------------------------------------------------------------------------------------


def _law_place(check: Check) -> dict[str, Any]:
    """Return the distance from the law and, if it is beyond the end of the axis, its value as text."""
    place = check.normal_z
    if abs(place) <= LAW_AXIS_END:
        return {"place": place, "pin": ""}
    return {"place": copysign(LAW_AXIS_END, place), "pin": signed(check.z)}


def _bound_place(check: Check) -> dict[str, Any]:
    """Return the distances of the measured value and of its interval from the bound, divided by the largest one.

    Distances on the claimed side are positive.
    """
    direction = 1 if check.relation == ">" else -1
    place, *ends = [direction * (value - check.expected) for value in (check.measured, *_interval(check))]
    largest = max(abs(place), *map(abs, ends)) or 1.0
    return {"place": place / largest, "low": min(ends) / largest, "high": max(ends) / largest}


def _band_place(check: Check) -> dict[str, Any]:
    """Return the distances of the measured value and of its interval from the published number, in half-widths.

    Values beyond the ends of the axis are clipped.
    """
    assert check.half_width is not None
    places = [(value - check.expected) / check.half_width for value in (check.measured, *_interval(check))]
    place, low, high = (max(-BAND_AXIS_END, min(BAND_AXIS_END, value)) for value in places)
    return {"place": place, "low": low, "high": high}


def _interval(check: Check) -> list[float]:
    return [check.measured if isnan(end) else end for end in (check.low, check.high)]


# ---- specifications ------------------------------------------------------------------------------------------------------


def _chart(
    checks: Sequence[Check],
    place_of: Callable[[Check], dict[str, Any]],
    *,
    row_of: Callable[[Check], str] = lambda check: check.label,
    name: str,
    title: str,
    unit: str,
    axis: Spec,
    domain: tuple[float, float],
    grey: tuple[float, float],
    extra: Sequence[Spec],
) -> dict[str, Any] | None:
    """Build a chart with a row for each label: a grey zone, a tick at 0 and a point for each check. None if there are no checks."""
    if not checks:
        return None
    points = [{"row": row_of(check), **_tooltip(check), **place_of(check)} for check in checks]
    labels = list(dict.fromkeys(point["row"] for point in points))
    rows: list[Row] = [{"row": label, "zero": 0, "from": grey[0], "to": grey[1]} for label in labels]
    layers = [_grey_zone(), _tick(), _label(), *extra, _points(axis, domain)]
    for one in layers:
        one["encoding"]["y"] = nominal("row", sort=labels, axis=None)
    return {
        "name": name,
        "title": title,
        "unit": unit,
        "spec": layered(layers, {"checks": points, "rows": rows}, height=ROW_HEIGHT * len(labels)),
    }


def _grey_zone() -> Spec:
    encoding = {"x": quantitative("from"), "x2": {"field": "to"}}
    return layer("bar", encoding, data="rows", color=FLOOR, opacity=0.2, size=14, yOffset=MARK_OFFSET)


def _tick() -> Spec:
    encoding = {"x": quantitative("zero")}
    return layer("tick", encoding, data="rows", color=FLOOR, thickness=1.5, size=14, orient="vertical", yOffset=MARK_OFFSET)


def _label() -> Spec:
    encoding = {"x": {"value": 0}, "text": nominal("row")}
    return layer("text", encoding, data="rows", align="left", baseline="middle", dy=-8, fontSize=11, limit={"expr": "width"})


def _intervals() -> Spec:
    encoding = {"x": quantitative("low"), "x2": {"field": "high"}, "color": _by_verdict(1)}
    return layer("rule", encoding, data="checks", strokeWidth=2, yOffset=MARK_OFFSET)


def _points(axis: Spec, domain: tuple[float, float]) -> Spec:
    encoding = {
        "x": quantitative("place", scale={"domain": list(domain), "nice": False}, **axis),
        "color": _by_verdict(1),
        "shape": _by_verdict(0),
        "tooltip": [nominal(field) for field in TOOLTIP],
    }
    return layer("point", encoding, data="checks", filled=True, size=70, opacity=0.85, yOffset=MARK_OFFSET)


def _by_verdict(place: int) -> Spec:
    """Return an encoding of the verdict by shape (`place` 0) or by colour (`place` 1)."""
    return nominal("verdict", legend=None, scale=scale(list(VERDICT_MARKS), [mark[place] for mark in VERDICT_MARKS.values()]))


# ---- checks as text ------------------------------------------------------------------------------------------------------


def _tooltip(check: Check) -> dict[str, str]:
    alternative = "–"
    if check.alternative is not None:
        alternative = f"{typeset(check.alternative)}, {signed(check.alternative_z)} standard errors away"
    return {
        "check": check.label,
        "verdict": check.verdict,
        "measured": typeset(check.measured),
        "interval": f"{typeset(check.low)} to {typeset(check.high)}",
        "expected": expected(check),
        "alternative": alternative,
        "z": signed(check.z),
        "p": probability(check.p),
        "chains": str(check.chains),
    }


def expected(check: Check, digits: int = 4) -> str:
    """Format the expected value of a check: `= 0.668`, `> 0`, `≈ 29.6 ± 3`."""
    band = "" if check.half_width is None else f" ± {typeset(check.half_width, 2)}"
    return f"{check.relation} {typeset(check.expected, digits)}{band}"


def signed(z: float | None) -> str:
    """Format a distance in standard errors, with its sign."""
    if z is None or isnan(z):
        return "–"
    return ("+" if z > 0 else "−" if z < 0 else "") + ("∞" if isinf(z) else short(abs(z)))


def probability(p: float) -> str:
    """Format a probability. Zero, which is a floating-point underflow, is shown as `< 1e−300`."""
    return "< 1e−300" if p == 0 else typeset(p, 2)
