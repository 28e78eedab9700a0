"""`autophagy figures`: the report's charts as files for a paper, in one style, through the same specifications."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import vl_convert

from ...core.errors import UserError, did_you_mean
from . import charts
from .report import AXES, Run, charts_beside, charts_of_axis, policies_of

FORMATS = ("pdf", "svg", "png")
SCALE = 3
"""Pixels per point in PNG: 216 to the inch."""
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


def write_figures(folders: Sequence[str | Path], output: str | Path, *, formats: Sequence[str] = FORMATS) -> list[Path]:
    """Write every chart of one or more runs into a folder, a file per format; the paths, in the order of the report.

    Of several runs, the statistics that they share come side by side as well. Raises UserError if a folder is not a finished run, a
    format is unknown or the folder cannot be written.
    """
    if unknown := [name for name in formats if name not in FORMATS]:
        raise UserError(f"--format {unknown[0]}: figures are written as {', '.join(FORMATS)}{did_you_mean(unknown[0], FORMATS)}")
    runs = [Run.read(Path(folder)) for folder in folders]
    written = []
    try:
        Path(output).mkdir(parents=True, exist_ok=True)
        for name, spec in _specifications(runs):
            for suffix in formats:
                path = Path(output) / f"{name}.{suffix}"
                path.write_bytes(_drawn(spec, suffix))
                written.append(path)
    except OSError as error:
        raise UserError(f"-o {output}: cannot be written: {error.strerror}") from error
    return written


def _specifications(runs: Sequence[Run]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Names of files and what to draw."""
    policies = policies_of(runs)
    for chart in charts_beside(runs):
        yield f"beside-{chart['name']}", _styled(chart)
    for run in runs:
        for axis in AXES:
            for chart in charts_of_axis(run, axis, policies):
                yield f"{run.name}-{chart['name']}", _styled(chart)
        yield f"{run.name}-trained-on", _styled(charts.mixture(run.rows))


def _styled(chart: dict[str, Any]) -> dict[str, Any]:
    """A chart as it stands alone: with its title, its legend and a size."""
    spec = {**chart["spec"], "config": STYLE, "title": {"text": chart["title"], "subtitle": chart["unit"]}}
    if "facet" not in spec:
        spec |= {"width": WIDTH, "height": HEIGHT}
    return _with_legends(spec)


def _with_legends(spec: Any) -> Any:
    """The page has one legend for all charts; a figure has its own."""
    if isinstance(spec, list):
        return [_with_legends(one) for one in spec]
    if not isinstance(spec, dict):
        return spec
    return {
        name: {key: value for key, value in one.items() if key != "legend" or value is not None}
        if name in ("color", "shape") and isinstance(one, dict)
        else (one if name == "datasets" else _with_legends(one))
        for name, one in spec.items()
    }


def _drawn(spec: dict[str, Any], suffix: str) -> bytes:
    version = charts.VEGA_LITE
    if suffix == "svg":
        return vl_convert.vegalite_to_svg(spec, vl_version=version).encode()
    if suffix == "pdf":
        return vl_convert.vegalite_to_pdf(spec, vl_version=version)
    return vl_convert.vegalite_to_png(spec, vl_version=version, scale=SCALE)
