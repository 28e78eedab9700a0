"""Chart of the figure of a claim: measured points together with laws."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil, floor, isnan, log10
from typing import Any

from ...replication.schema import ClaimResult, Curve, Figure
from ..charts import FLOOR, PALETTE, SHAPES, Row, Spec, layer, layered, nominal, quantitative, scale, typeset, visible

DASHES = ([6, 4], [2, 3], [9, 3, 2, 3], [12, 4])
HEIGHT = 300
"""Height of a figure in pixels."""
SHAPE_PATHS = {
    "circle": "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0",
    "square": "M-3.5 -3.5h7v7h-7z",
    "triangle-up": "M0 -4.5L4.5 3.5h-9z",
    "diamond": "M0 -5L4.5 0L0 5L-4.5 0z",
    "cross": "M-1.5 -4.5h3v3h3v3h-3v3h-3v-3h-3v-3h3z",
    "triangle-down": "M0 4.5L4.5 -3.5h-9z",
    "triangle-left": "M-4.5 0L3.5 -4.5v9z",
    "triangle-right": "M4.5 0L-3.5 -4.5v9z",
}
"""SVG paths of Vega's shapes, centred at 0, for the legend on the page."""


@dataclass(frozen=True)
class Series:
    """A law and its measurements, drawn with the same name and colour. Either of the two may be missing."""

    name: str
    colour: str
    shape: str
    """Shape of the measured points. Empty if there are no measurements."""
    dash: Sequence[int]
    """Dash pattern of the law. Empty (a solid line) for a law with measurements."""
    line: bool
    """True if the series has a law."""


def figure_chart(claim: ClaimResult) -> dict[str, Any] | None:
    """Build the chart of a claim: laws as lines, measurements as points with 95 % intervals. None if no point can be drawn."""
    figure = claim.figure
    rows = list(_rows(figure)) if figure else []
    if figure is None or not rows:
        return None
    series = series_of(figure.curves)
    skipped = sum(len(curve.x) for curve in figure.curves) - len(rows)
    return {
        "name": f"{claim.id} picture",
        "title": figure.y,
        "unit": " · ".join(_legend(series, skipped=skipped)),
        "spec": layered(_layers(figure, rows, series), {"points": rows}, height=HEIGHT),
        "series": series,
    }


def _layers(figure: Figure, rows: Sequence[Row], series: Sequence[Series]) -> list[Spec]:
    """Build the layers from back to front: lines that join points, laws with tooltips, intervals, measured points."""
    names = [one.name for one in series]
    x = quantitative("x", title=figure.x, **_axis([row["x"] for row in rows], log=figure.log_x, grid=figure.log_x, nice=False))
    y = quantitative("y", title=None, **_axis([row["y"] for row in rows], log=figure.log_y, grid=True, nice=True))
    colour = nominal("series", legend=None, scale=scale(names, [one.colour for one in series]))
    dash = nominal("series", legend=None, scale=scale(names, [list(one.dash) for one in series]))
    shape = nominal("series", legend=None, scale=scale(names, [one.shape or "circle" for one in series]))
    along = {"detail": nominal("curve"), "order": quantitative("x")}
    titles = {"curve": "curve", "at": figure.x, "value": figure.y, "interval": "95 % interval", "law": "law"}
    tooltip = [nominal(field, title=title) for field, title in titles.items()]
    base = {"x": x, "color": colour}

    def one_layer(mark: str, encoding: Spec, *conditions: str, **options: Any) -> Spec:
        where = [visible("series"), *(f"datum.{condition}" for condition in conditions)]
        return layer(mark, {**base, **encoding}, data="points", where=where, **options)

    law, measured = "kind == 'law'", "kind == 'measured'"
    layers = []
    if any(one.shape and not one.line for one in series):
        layers.append(one_layer("line", {"y": y, **along}, measured, "has_law == false", strokeWidth=1, opacity=0.6))
    if any(one.line for one in series):
        layers.append(one_layer("line", {"y": y, "strokeDash": dash, **along}, law, strokeWidth=2))
        # invisible points carry the tooltips of the line
        layers.append(one_layer("point", {"y": y, "tooltip": tooltip[:3]}, law, filled=True, size=60, opacity=0))
    if any(row["low"] is not None for row in rows):
        interval = {"y": quantitative("low", title=None), "y2": {"field": "high"}}
        layers.append(one_layer("rule", interval, measured, "low != null", strokeWidth=1.5))
    if any(one.shape for one in series):
        layers.append(one_layer("point", {"y": y, "shape": shape, "tooltip": tooltip}, measured, filled=True, size=38, opacity=1))
    return layers


def _legend(series: Sequence[Series], *, skipped: int) -> Iterator[str]:
    """Yield explanations of the lines and points in the chart."""
    if any(one.line and not one.dash for one in series):
        yield "lines: laws"
    if any(one.dash for one in series):
        yield "dashed: reference lines"
    if any(one.shape for one in series):
        yield "points: measured, with 95 % intervals"
    if any(one.shape and not one.line for one in series):
        yield "thin lines: join measured points"
    if skipped:
        yield f"points outside the axes, not drawn: {skipped}"


# ---- data ----------------------------------------------------------------------------------------------------------------


def _rows(figure: Figure) -> Iterator[dict[str, Any]]:
    """Yield a row for each point that can be drawn. On a logarithmic axis, intervals are cut at the smallest positive number."""
    named_curves = list(zip(series_names(figure.curves), figure.curves, strict=True))
    law_values = {(name, x): y for name, curve in named_curves if curve.law for x, y in zip(curve.x, curve.y, strict=True)}
    with_law = {name for name, _ in law_values}
    smallest = min((number for number in _y_numbers(figure) if number > 0), default=1.0)
    for name, curve in named_curves:
        no_ends = [float("nan")] * len(curve.x)
        for x, y, low, high in zip(curve.x, curve.y, curve.low or no_ends, curve.high or no_ends, strict=True):
            if isnan(x) or isnan(y) or (figure.log_x and x <= 0) or (figure.log_y and y <= 0):
                continue
            has_interval = not (isnan(low) or isnan(high))
            ends = [max(end, smallest) if figure.log_y else end for end in (low, high)] if has_interval else [None, None]
            yield {
                "series": name,
                "curve": curve.label,
                "kind": "law" if curve.law else "measured",
                "x": x,
                "y": y,
                "low": ends[0],
                "high": ends[1],
                "has_law": name in with_law,
                "at": typeset(x),
                "value": typeset(y),
                "interval": f"{typeset(low)} to {typeset(high)}" if has_interval else "–",
                "law": typeset(law_values.get((name, x))),
            }


def _y_numbers(figure: Figure) -> Iterator[float]:
    for curve in figure.curves:
        for values in (curve.y, curve.low, curve.high):
            yield from values or ()


def series_names(curves: Sequence[Curve]) -> list[str]:
    """Return the series name of each curve. Curves `law: NAME`, `law: NAME = 0` and `measured: NAME` belong to the series NAME."""
    heads = [curve.label.partition(": ") for curve in curves]
    names = [
        name if colon and head in ("law", "measured") else curve.label for curve, (head, colon, name) in zip(curves, heads, strict=True)
    ]
    if {"law", "measured"} <= set(names):
        names = ["law, measured" if name in ("law", "measured") else name for name in names]
    measured = {name for curve, name in zip(curves, names, strict=True) if not curve.law}
    short_names = [name.partition(" = ")[0] for name in names]
    return [
        short_name if curve.law and name not in measured and short_name in measured else name
        for curve, name, short_name in zip(curves, names, short_names, strict=True)
    ]


def series_of(curves: Sequence[Curve]) -> list[Series]:
    """Return all series, in order of appearance. Reference lines (a limit, chance level) are grey."""
    named_curves = list(zip(series_names(curves), curves, strict=True))
    names = list(dict.fromkeys(name for name, _ in named_curves))
    with_law = {name for name, curve in named_curves if curve.law}
    measured = {name for name, curve in named_curves if not curve.law}
    grey = {name for name, curve in named_curves if name not in measured and not curve.label.startswith("law")}
    coloured = [name for name in names if name not in grey]
    dashed = [name for name in names if name not in measured]
    return [
        Series(
            name,
            FLOOR if name in grey else PALETTE[coloured.index(name) % len(PALETTE)],
            SHAPES[coloured.index(name) % len(SHAPES)] if name in measured else "",
            DASHES[dashed.index(name) % len(DASHES)] if name in dashed else (),
            name in with_law,
        )
        for name in names
    ]


def _axis(values: Sequence[float], *, log: bool, grid: bool, nice: bool) -> Spec:
    """Return a scale and its axis. Ticks are whole numbers for whole values, and round numbers on logarithmic axes."""
    look = {"labelFlush": False, "labelOverlap": True, "titleLimit": 260, "grid": grid}
    if not log:
        whole = {"tickMinStep": 1} if all(value == int(value) for value in values) else {}
        return {"scale": {"zero": False, "nice": nice}, "axis": {"tickCount": 8, **look, **whole}}
    low, high = log10(min(values)), log10(max(values))
    digits = (1, 2, 3, 5) if high - low < 3.5 else (1,)
    ticks = [digit * 10.0**power for power in range(floor(low), ceil(high) + 1) for digit in digits]
    return {"scale": {"type": "log", "nice": False}, "axis": {"values": ticks, "format": ",~g", **look}}
