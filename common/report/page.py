"""What every report's page is made with: its templates, styles and scripts, numbers in words, and one file that appears whole."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from ..core.atomic_write import atomic_write
from ..core.errors import UserError
from .runs import charts


def render(template: str, *, styles: Sequence[str] = ("style.css",), scripts: Sequence[str] = ("page.js",), **about: Any) -> str:
    """The page of a template, with its styles, and with Vega and its scripts as one script, so that it needs no network."""
    return (
        _environment()
        .get_template(template)
        .render(
            **about,
            style=Markup("\n".join(map(_file, styles))),
            script=Markup("\n".join(map(_file, scripts))),
            bundle=Markup(_bundle()),
        )
    )


def publish(page: str, output: str | Path) -> None:
    """Write a page so that there is either all of it or none. UserError if the file cannot be written."""
    try:
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        atomic_write(Path(output), lambda draft: draft.write_text(page, encoding="utf-8"))
    except OSError as error:
        raise UserError(f"-o {output}: cannot be written: {error.strerror}") from error


def number(value: float | None, digits: int = 4) -> str:
    """Four significant digits, or as many as are wanted, or a dash for no number."""
    return "–" if value is None or value != value else f"{value:.{digits}g}"


def typeset(value: float | None, digits: int = 4) -> str:
    """The same with a true minus: for reading, which numbers in a CSV are not."""
    return number(value, digits).replace("-", "−")


def short(value: float) -> str:
    """Two decimals or, of what is small, two significant digits; no more digits than tell anything at a glance."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return (f"{value:.{digits}f}" if abs(value) >= 0.095 else f"{value:.2g}").replace("-", "−")


def _environment() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = number
    environment.filters["typeset"] = typeset
    environment.filters["fixed"] = lambda value, decimals, sign="+": f"{value:{sign}.{decimals}f}".replace("-", "−")
    environment.filters["short"] = short
    environment.filters["words"] = charts.spelt
    return environment


def _file(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


@cache
def _bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script."""
    import vl_convert

    try:
        return vl_convert.javascript_bundle(vl_version=charts.VEGA_LITE).replace("</script", "<\\/script")
    except BaseException as error:  # a panic in its Rust code is no Exception, and says nothing of its cause
        if type(error).__name__ != "PanicException":
            raise
        raise UserError("report: the library of the charts gave up; too many open files, or no memory?") from error
