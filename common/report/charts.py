"""Building blocks of charts, which are Vega-Lite specifications (plain dictionaries).

Vega draws the specifications in the browser, and `figures` draws them into files. Both reports build their charts from these functions:
`layer` makes one layer; `layered` and `faceted` make a complete specification. Every specification has a parameter `hidden`, the list of
names that are not drawn. The switches on the page set this parameter.

    points = layer("point", {"x": quantitative("generation"), "y": quantitative("mean")}, data="points", where=[visible("policy")])
    spec = layered([points], {"points": [{"policy": "replace", "generation": 0, "mean": 4.4}]}, height=150)

Colours are from Okabe & Ito (2008) and Tol (https://personal.sron.nl/~pault/). Colour-blind readers can distinguish them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

Spec = dict[str, Any]
"""A Vega-Lite specification, or a part of one."""
Row = Mapping[str, Any]
"""A row of chart data: values by column name."""

PALETTE = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999", "#F0E442")
"""Colours of policies and series: Okabe & Ito without black, with yellow moved to the end."""
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-left", "triangle-right")
RUN_COLOURS = ("#882255", "#117733", "#332288", "#DDCC77")
"""Colours of runs when several are compared, from Tol's muted palette. Different from the colours of policies."""
FLOOR = "#888888"
"""Colour of floors and other reference lines."""
FLOOR_DASH = [5, 4]
VEGA_LITE = "v6.4"
"""Version of Vega-Lite, in the notation of `vl_convert`."""
PANEL_WIDTH = 200
"""Width of a panel of a faceted chart, in pixels."""
PANEL_COLUMNS = 4


def colour(name: str, names: Sequence[str]) -> str:
    """Return the colour of `name`, which depends on its position in `names`. With the same `names`, charts have the same colours."""
    return PALETTE[list(names).index(name) % len(PALETTE)]


def shape(name: str, names: Sequence[str]) -> str:
    """Return the point shape of `name`. Colours repeat after eight names; shapes are shifted, so that pairs do not repeat."""
    place = list(names).index(name)
    return SHAPES[(place + place // len(PALETTE)) % len(SHAPES)]


# ---- encodings ----------------------------------------------------------------------------------------------------------


def quantitative(field: str, **options: Any) -> Spec:
    """Return the encoding of a numeric field. `options` are properties of the channel: `title`, `scale`, `axis`, `legend`, `format`, ..."""
    return {"field": field, "type": "quantitative", **options}


def nominal(field: str, **options: Any) -> Spec:
    """Return the encoding of a category without an order."""
    return {"field": field, "type": "nominal", **options}


def ordinal(field: str, **options: Any) -> Spec:
    """Return the encoding of a category with an order."""
    return {"field": field, "type": "ordinal", **options}


def scale(names: Sequence[str], values: Sequence[Any]) -> Spec:
    """Return a scale that maps each name to a value (colour, shape or dash pattern)."""
    return {"domain": list(names), "range": list(values)}


def visible(field: str) -> str:
    """Return a Vega filter that keeps rows whose `field` is not in the parameter `hidden`."""
    return f"indexof(hidden, datum.{field}) < 0"


# ---- specifications -----------------------------------------------------------------------------------------------------


def layer(mark: str, encoding: Mapping[str, Any], *, data: str | None = None, where: Sequence[str | Row] = (), **mark_options: Any) -> Spec:
    """Return one layer of a chart.

    mark          'point', 'line', 'area', 'rule', ...
    mark_options  properties of the mark (`opacity`, `strokeDash`, ...)
    data          name of a table in the `datasets` of the chart; None means the table of the whole chart
    where         Vega-Lite filters; the layer shows the rows that pass all of them
    """
    spec: Spec = {"mark": {"type": mark, **mark_options}, "encoding": dict(encoding)}
    if data is not None:
        spec["data"] = {"name": data}
    if where:
        spec["transform"] = [{"filter": condition} for condition in where]
    return spec


def layered(layers: Sequence[Spec], datasets: Mapping[str, Sequence[Row]], *, height: int) -> Spec:
    """Return a chart of several layers, as wide as its container. `height` is in pixels. Each layer must name its table (`data`)."""
    return {**_common(datasets), "layer": list(layers), "width": "container", "height": height}


def faceted(
    panel: Spec,
    rows: Sequence[Row],
    *,
    by: str,
    order: Sequence[str],
    height: int,
    width: float = PANEL_WIDTH,
    columns: int = PANEL_COLUMNS,
) -> Spec:
    """Return a chart with one panel for each value of the column `by`, in the order `order`.

    `panel` is a layer or `{"layer": [...]}`. All panels use the table `rows`. Hidden panels take no space. `width` and `height` are those
    of a panel, in pixels.
    """
    return {
        **_common({"rows": rows}),
        "data": {"name": "rows"},
        "transform": [{"filter": visible(by)}],
        "facet": nominal(by, title=None, sort=list(order)),
        "columns": columns,
        "spec": {**panel, "width": width, "height": height},
    }


def _common(datasets: Mapping[str, Sequence[Row]]) -> Spec:
    return {
        "$schema": f"https://vega.github.io/schema/vega-lite/{VEGA_LITE}.json",
        "params": [{"name": "hidden", "value": []}],
        "datasets": {name: [{column: _json(value) for column, value in row.items()} for row in rows] for name, rows in datasets.items()},
    }


def _json(value: Any) -> Any:
    """Replace NaN and infinity by None, because JSON has no such numbers."""
    return None if isinstance(value, float) and not isfinite(value) else value


# ---- numbers as text ------------------------------------------------------------------------------------------------------


def number(value: float | None, digits: int = 4) -> str:
    """Format a number with `digits` significant digits. Returns a dash for None and NaN."""
    return "–" if value is None or value != value else f"{value:.{digits}g}"


def typeset(value: float | None, digits: int = 4) -> str:
    """Format a number like `number`, but with a true minus sign. Use it for text, not for CSV."""
    return number(value, digits).replace("-", "−")


def short(value: float) -> str:
    """Format a number briefly: with at most two decimals or, below 0.1, with two significant digits."""
    if value != value:
        return "–"
    decimals = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return (f"{value:.{decimals}f}" if abs(value) >= 0.095 else f"{value:.2g}").replace("-", "−")


def fixed(value: float, decimals: int, sign: str = "+") -> str:
    """Format a number with `decimals` decimals and a true minus sign. With `sign='+'` positive numbers get a plus sign."""
    rounded = round(value, decimals) + 0.0  # turns -0.0 into 0.0
    return f"{rounded:{sign if rounded else ''}.{decimals}f}".replace("-", "−")
