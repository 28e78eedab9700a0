"""Export of charts for papers (`autophagy figures`): draws the specifications of the report into files, in a style for print."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ...core.errors import UserError, did_you_mean
from ..charts import VEGA_LITE, Spec
from .context import AXES, RunContext
from .metric_charts import Chart
from .report import comparison_charts, read_runs

FORMATS = ("pdf", "svg", "png")
SCALE = 3
"""Pixels per point in PNG files. 3 pixels per point are 216 pixels per inch."""
STYLE = {
    "background": "white",
    "font": "Helvetica, Arial, sans-serif",
    "view": {"stroke": None},
    "axis": {
        "labelFontSize": 9,
        "titleFontSize": 9,
        "titleFontWeight": "normal",
        "gridColor": "#e6e6e6",
        "domainColor": "#888",
        "tickColor": "#888",
    },
    "header": {"labelFontSize": 9, "labelFontWeight": "bold"},
    "legend": {"labelFontSize": 9, "titleFontSize": 9, "titleFontWeight": "normal", "orient": "bottom", "symbolOpacity": 1},
    "title": {"fontSize": 10, "anchor": "start", "subtitleFontSize": 9, "subtitleColor": "#555"},
}
WIDTH, HEIGHT = 260, 170
"""Size of a chart without panels, in points."""


def write_figures(folders: Sequence[str | Path], output: str | Path, *, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write every chart of one or more runs into the folder `output`, one file per format. Returns the paths in the order of the report.

    With several runs, the charts that compare the runs are included. Raises UserError if a folder is not a finished run, a format is
    unknown or `output` cannot be written.
    """
    if unknown := [name for name in formats if name not in FORMATS]:
        raise UserError(f"--format {unknown[0]}: unknown format; known: {', '.join(FORMATS)}{did_you_mean(unknown[0], FORMATS)}")
    runs = read_runs(folders)
    paths = []
    try:
        Path(output).mkdir(parents=True, exist_ok=True)
        for name, spec in _figures(runs):
            for suffix in formats:
                path = Path(output) / f"{name}.{suffix}"
                path.write_bytes(_draw(spec, suffix))
                paths.append(path)
    except OSError as error:
        raise UserError(f"-o {output}: cannot be written: {error.strerror}") from error
    return paths


def _figures(runs: Sequence[RunContext]) -> Iterator[tuple[str, Spec]]:
    """Yield the file name, without suffix, and the specification of each chart."""
    for chart in comparison_charts(runs):
        yield f"beside-{chart.id}", _standalone(chart)
    for one in runs:
        for axis in AXES:
            for chart in one.charts_of(axis):
                yield f"{one.name}-{chart.id}", _standalone(chart)
        yield f"{one.name}-trained-on", _standalone(one.training_chart)


def _standalone(chart: Chart) -> Spec:
    """Return the specification of a chart with title, legends and size, so that it can be used outside the page."""
    spec = {**chart.spec, "config": STYLE, "title": {"text": chart.title, "subtitle": chart.subtitle}}
    if not chart.is_faceted:
        spec |= {"width": WIDTH, "height": HEIGHT}
    return {name: part if name == "datasets" else _with_legends(part) for name, part in spec.items()}


def _with_legends(part: Any) -> Any:
    """Remove `legend: null` from a specification. The page has one legend for all charts, but each figure needs a legend."""
    if isinstance(part, list):
        return [_with_legends(one) for one in part]
    if not isinstance(part, dict):
        return part
    return {name: _with_legends(one) for name, one in part.items() if not (name == "legend" and one is None)}


def _draw(spec: Spec, suffix: str) -> bytes:
    import vl_convert

    if suffix == "svg":
        return vl_convert.vegalite_to_svg(spec, vl_version=VEGA_LITE).encode()
    if suffix == "pdf":
        return bytes(vl_convert.vegalite_to_pdf(spec, vl_version=VEGA_LITE))
    return bytes(vl_convert.vegalite_to_png(spec, vl_version=VEGA_LITE, scale=SCALE))
