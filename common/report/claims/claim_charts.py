"""A claim's picture: what was measured beside its laws."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, log10
from typing import Any

import altair
import pandas

from ..page import typeset
from ..runs.charts import FLOOR, PALETTE, SHAPES, finished
from .schema import Claim, Curve, Figure

DASHES = ([6, 4], [2, 3], [9, 3, 2, 3], [12, 4])
HEIGHT = 300
PATHS = {
    "circle": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0",
    "square": "M-3.5 -3.5h7v7h-7z",
    "triangle-up": "M0 -4.5L4.5 3.5h-9z",
    "diamond": "M0 -5L4.5 0L0 5L-4.5 0z",
    "cross": "M-1.5 -4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z",
    "triangle-down": "M0 4.5L4.5 -3.5h-9z",
    "triangle-left": "M-4.5 0L3.5 -4.5v9z",
    "triangle-right": "M4.5 0L-3.5 -4.5v9z",
}
"""Vega's shapes as SVG paths around 0, for keys in the page."""
SHOWN = "indexof(hidden, datum.thing) < 0"


@dataclass(frozen=True)
class Series:
    """What curves of a picture are about: its law and its measurements share a colour."""

    name: str
    colour: str
    shape: str
    """Of measured points; none for a law that nothing here was measured against."""
    dash: Sequence[int]
    """Of the line; solid for a law with measurements."""
    line: bool
    """Whether there is a law."""


def picture(claim: Claim) -> dict[str, Any] | None:
    """A claim's curves: laws as lines, what was measured as points with 95 % intervals; None if there is nothing to draw."""
    drawn = claim.picture
    rows = list(_rows(drawn)) if drawn else []
    if not rows:
        return None
    things = _things(drawn.curves)
    names = [thing.name for thing in things]
    colours = altair.Color("thing:N", scale=altair.Scale(domain=names, range=[thing.colour for thing in things]), legend=None)
    shapes = altair.Shape("thing:N", scale=altair.Scale(domain=names, range=[thing.shape or "circle" for thing in things]), legend=None)
    dashes = altair.StrokeDash("thing:N", scale=altair.Scale(domain=names, range=[list(thing.dash) for thing in things]), legend=None)
    x = altair.X("x:Q", title=drawn.x, **_axis([row["x"] for row in rows], log=drawn.log_x, grid=drawn.log_x, nice=False))
    y = altair.Y("y:Q", title=None, **_axis([row["y"] for row in rows], log=drawn.log_y, grid=True, nice=True))
    tooltip = [altair.Tooltip(f"{field}:N", title=title) for field, title in
               (("curve", "curve"), ("at", drawn.x), ("value", drawn.y), ("interval", "95 % interval"), ("law", "law"))]  # fmt: skip
    base = altair.Chart(pandas.DataFrame(rows)).transform_filter(SHOWN).encode(x=x, color=colours)
    laws, measured = base.transform_filter("datum.kind == 'law'"), base.transform_filter("datum.kind == 'measured'")
    bars, loose = measured.transform_filter("isValid(datum.low)"), measured.transform_filter("!datum.lawful")
    layers = []
    if any(thing.shape and not thing.line for thing in things):
        layers.append(loose.mark_line(strokeWidth=1, opacity=0.6).encode(y=y, detail="curve:N", order="x:Q"))
    if any(thing.line for thing in things):
        layers.append(laws.mark_line(strokeWidth=2).encode(y=y, strokeDash=dashes, detail="curve:N", order="x:Q"))
        layers.append(laws.mark_point(filled=True, size=60, opacity=0).encode(y=y, tooltip=tooltip[:3]))  # for hovering
    if any(row["low"] is not None for row in rows):
        layers.append(bars.mark_rule(strokeWidth=1.5).encode(y=altair.Y("low:Q", title=None), y2="high:Q"))
    if any(thing.shape for thing in things):
        layers.append(measured.mark_point(filled=True, size=38, opacity=1).encode(y=y, shape=shapes, tooltip=tooltip))
    return {
        "name": f"{claim.id} picture",
        "title": drawn.y,
        "unit": " · ".join(_key(things, dropped=sum(len(curve.x) for curve in drawn.curves) - len(rows))),
        "spec": finished(altair.layer(*layers), HEIGHT),
        "things": things,
    }


def _key(things: Sequence[Series], *, dropped: int) -> Iterator[str]:
    """What lines and points mean in a picture of such things."""
    if any(thing.line and not thing.dash for thing in things):
        yield "lines: laws"
    if any(thing.dash for thing in things):
        yield "dashed: for comparison"
    if any(thing.shape for thing in things):
        yield "points: measured, with 95 % intervals"
    if any(thing.shape and not thing.line for thing in things):
        yield "thin lines only join them"
    if dropped:
        yield f"left out, with no place on these axes: {dropped}"


def _rows(drawn: Figure) -> Iterator[dict[str, Any]]:
    """A row for each point that can be drawn; an interval that passes 0 on a logarithmic axis ends at the least number there is."""
    lawful = {
        (thing, x): y for curve, thing in zip(drawn.curves, _names(drawn.curves), strict=True) if curve.law
        for x, y in zip(curve.x, curve.y, strict=True)
    }  # fmt: skip
    laws = {thing for thing, _ in lawful}
    numbers = [number for curve in drawn.curves for part in (curve.y, curve.low or (), curve.high or ()) for number in part]
    least = min((number for number in numbers if number is not None and number > 0), default=1.0)
    for curve, thing in zip(drawn.curves, _names(drawn.curves), strict=True):
        nothing = [None] * len(curve.x)
        for x, y, low, high in zip(curve.x, curve.y, curve.low or nothing, curve.high or nothing, strict=True):
            if x is None or y is None or (drawn.log_x and x <= 0) or (drawn.log_y and y <= 0):
                continue
            law, bar = lawful.get((thing, x)), low is not None and high is not None
            yield {
                "thing": thing,
                "curve": curve.label,
                "kind": "law" if curve.law else "measured",
                "x": x,
                "y": y,
                "low": max(low, least) if bar and drawn.log_y else low if bar else None,
                "high": max(high, least) if bar and drawn.log_y else high if bar else None,
                "lawful": thing in laws,
                "at": typeset(x),
                "value": typeset(y),
                "interval": f"{typeset(low)} to {typeset(high)}" if bar else "–",
                "law": typeset(law),
            }


def _names(curves: Sequence[Curve]) -> list[str]:
    """What each curve is about: `law: NAME` and `measured: NAME` are about NAME, and so is `law: NAME = 0`."""
    heads = [curve.label.partition(": ") for curve in curves]
    names = [
        name if colon and head in ("law", "measured") else curve.label for curve, (head, colon, name) in zip(curves, heads, strict=True)
    ]
    if {"law", "measured"} <= set(names):
        names = ["law, measured" if name in ("law", "measured") else name for name in names]
    measured = {name for curve, name in zip(curves, names, strict=True) if not curve.law}
    short_names = [name.partition(" = ")[0] for name in names]
    return [head if curve.law and name not in measured and head in measured else name
            for curve, name, head in zip(curves, names, short_names, strict=True)]  # fmt: skip


def _things(curves: Sequence[Curve]) -> list[Series]:
    """In the order in which they come; what is no law of anything (a limit, chance) is grey."""
    names = _names(curves)
    laws = {name for curve, name in zip(curves, names, strict=True) if curve.law}
    measured = {name for curve, name in zip(curves, names, strict=True) if not curve.law}
    neutral = {name for curve, name in zip(curves, names, strict=True) if name not in measured and not curve.label.startswith("law")}
    coloured = [name for name in dict.fromkeys(names) if name not in neutral]
    dashed = [name for name in dict.fromkeys(names) if name not in measured]
    return [
        Series(
            name,
            FLOOR if name in neutral else PALETTE[coloured.index(name) % len(PALETTE)],
            SHAPES[coloured.index(name) % len(SHAPES)] if name in measured else "",
            DASHES[dashed.index(name) % len(DASHES)] if name in dashed else (),
            name in laws,
        )
        for name in dict.fromkeys(names)
    ]


def _axis(values: Sequence[float], *, log: bool, grid: bool, nice: bool) -> dict[str, Any]:
    """A scale and its axis, labelled at whole numbers where all values are (generations) and, if logarithmic, at round ones."""
    look = {"labelFlush": False, "labelOverlap": True, "titleLimit": 260, "grid": grid}
    if not log:
        whole = all(value == int(value) for value in values)
        return {
            "scale": altair.Scale(zero=False, nice=nice),
            "axis": altair.Axis(tickCount=8, **look, **({"tickMinStep": 1} if whole else {})),
        }
    low, high = log10(min(values)), log10(max(values))
    digits = (1, 2, 3, 5) if high - low < 3.5 else (1,)
    ticks = [digit * 10.0**power for power in range(floor(low), ceil(high) + 1) for digit in digits]
    return {"scale": altair.Scale(type="log", nice=False), "axis": altair.Axis(values=ticks, format=",~g", **look)}
