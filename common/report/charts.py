"""Charts as Vega-Lite specifications: plain dictionaries, drawn by Vega in the reader's browser or by `figures` into files.

Both reports build their charts from the functions below. `layer` makes one layer, `layered` and `faceted` make a complete
specification. Every specification has a parameter `hidden`: the names that are not drawn. The switches of the page set it.

    points = layer("point", {"x": quantitative("generation"), "y": quantitative("mean")}, data="points", where=[visible("policy")])
    spec = layered([points], {"points": [{"policy": "replace", "generation": 0, "mean": 4.4}]}, height=150)

Colours are those of Okabe & Ito (2008) and of Tol (https://personal.sron.nl/~pault/): colour-blind readers can tell them apart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

Spec = dict[str, Any]
"""A Vega-Lite specification, or a part of one."""
Row = Mapping[str, Any]
"""A row of a chart's data: a value for each column."""

PALETTE = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999", "#F0E442")
"""Okabe & Ito's colours without black, yellow last."""
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-left", "triangle-right")
RUN_COLOURS = ("#882255", "#117733", "#332288", "#DDCC77")
"""Colours of whole runs, from Tol's muted palette. They differ from those of policies."""
FLOOR = "#888888"
"""The colour of floors and of other reference lines."""
FLOOR_DASH = [5, 4]
VEGA_LITE = "v6.4"
"""The version of Vega-Lite, as `vl_convert` names it."""
PANEL_WIDTH = 200
"""Width of a panel of a faceted chart, in pixels."""
PANEL_COLUMNS = 4


def colour(name: str, names: Sequence[str]) -> str:
    """The colour of `name`, by its place in `names`. It is the same in every chart of a report."""
    return PALETTE[list(names).index(name) % len(PALETTE)]


def shape(name: str, names: Sequence[str]) -> str:
    """The point shape of `name`. Colours repeat after eight names, but never with the same shape."""
    place = list(names).index(name)
    return SHAPES[(place + place // len(PALETTE)) % len(SHAPES)]


# ---- encodings ----------------------------------------------------------------------------------------------------------


def quantitative(field: str, **options: Any) -> Spec:
    """An encoding of a number. `options` are those of the channel: `title`, `scale`, `axis`, `legend`, `format`, ..."""
    return {"field": field, "type": "quantitative", **options}


def nominal(field: str, **options: Any) -> Spec:
    """An encoding of a name without an order."""
    return {"field": field, "type": "nominal", **options}


def ordinal(field: str, **options: Any) -> Spec:
    """An encoding of a category with an order."""
    return {"field": field, "type": "ordinal", **options}


def scale(names: Sequence[str], values: Sequence[Any]) -> Spec:
    """A scale that gives each name its colour, shape or dash."""
    return {"domain": list(names), "range": list(values)}


def visible(field: str) -> str:
    """A filter: rows whose `field` is not in the parameter `hidden`."""
    return f"indexof(hidden, datum.{field}) < 0"


# ---- specifications -----------------------------------------------------------------------------------------------------


def layer(mark: str, encoding: Mapping[str, Any], *, data: str | None = None, where: Sequence[str | Row] = (), **mark_options: Any) -> Spec:
    """One layer of a chart.

    mark      'point', 'line', 'area', 'rule', ...; `mark_options` are its properties (`opacity`, `strokeDash`, ...)
    data      the name of a table in the `datasets` of the chart; None: the table of the whole chart
    where     Vega-Lite filters; a row must pass all of them
    """
    spec: Spec = {"mark": {"type": mark, **mark_options}, "encoding": dict(encoding)}
    if data is not None:
        spec["data"] = {"name": data}
    if where:
        spec["transform"] = [{"filter": condition} for condition in where]
    return spec


def layered(layers: Sequence[Spec], datasets: Mapping[str, Sequence[Row]], *, height: int) -> Spec:
    """A chart of several layers, as wide as its container. `height` is in pixels. Each layer names its table."""
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
    """A chart with a panel for each value of the column `by`, in the order `order`. `width` and `height` of a panel are in pixels.

    `panel` is a layer or `{"layer": [...]}`; all panels show the same table. Panels that are hidden take no space.
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
    """NaN and infinity become null: JSON has neither."""
    return None if isinstance(value, float) and not isfinite(value) else value


# ---- numbers as text ------------------------------------------------------------------------------------------------------


def number(value: float | None, digits: int = 4) -> str:
    """A number with `digits` significant digits. A dash for None and NaN."""
    return "–" if value is None or value != value else f"{value:.{digits}g}"


def typeset(value: float | None, digits: int = 4) -> str:
    """The same with a true minus sign: for text, not for CSV."""
    return number(value, digits).replace("-", "−")


def short(value: float) -> str:
    """A number for reading at a glance: at most two decimals, or two significant digits below 0.1."""
    if value != value:
        return "–"
    decimals = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return (f"{value:.{decimals}f}" if abs(value) >= 0.095 else f"{value:.2g}").replace("-", "−")


def fixed(value: float, decimals: int, sign: str = "+") -> str:
    """A number with `decimals` decimals and a true minus sign. `sign` is that of a format: '+' shows plus signs, '' does not."""
    rounded = round(value, decimals) + 0.0  # not -0
    return f"{rounded:{sign if rounded else ''}.{decimals}f}".replace("-", "−")
