"""HTML pages: render a template, together with its styles, scripts and Vega, into one self-contained file."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup

from ..core.atomic_write import atomic_write
from ..core.errors import UserError
from ..core.user_cache import cached_text
from .charts import VEGA_LITE, fixed, number, short, typeset

FOLDER = Path(__file__).parent


def render(template: str, *, styles: Sequence[str] = ("style.css",), scripts: Sequence[str] = ("page.js",), **context: Any) -> str:
    """Render a template to an HTML page. Styles, scripts and Vega are inlined, so that the page works without a network."""
    return (
        _environment()
        .get_template(template)
        .render(
            **context,
            style=Markup("\n".join(map(_read, styles))),
            script=Markup("\n".join(map(_read, scripts))),
            bundle=Markup(_vega_bundle()),
        )
    )


def publish(page: str, output: str | Path) -> None:
    """Write a page to a file atomically: after an error no partial file is left. Raises UserError if the file cannot be written."""
    try:
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        atomic_write(Path(output), lambda draft: draft.write_text(page, encoding="utf-8"))
    except OSError as error:
        raise UserError(f"-o {output}: cannot be written: {error.strerror}") from error


def _environment() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(FOLDER)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = number
    environment.filters["typeset"] = typeset
    environment.filters["fixed"] = fixed
    environment.filters["short"] = short
    return environment


def _read(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")


# ---- Vega ---------------------------------------------------------------------------------------------------------------


@cache
def _vega_bundle() -> str:
    """Return Vega, Vega-Lite and Vega-Embed as one script of about 900 kB.

    `vl_convert` takes two seconds to bundle the script. Therefore it is cached in the user's cache folder, with one file per version.
    """
    return cached_text(f"vega-{version('vl-convert-python')}-{VEGA_LITE}.js", _make_bundle)


def _make_bundle() -> str:
    import vl_convert

    try:
        script: str = vl_convert.javascript_bundle(vl_version=VEGA_LITE)  # type: ignore[call-arg]  # the type stub is wrong
    except BaseException as error:  # a panic in Rust code is not an Exception, and its message does not help
        if type(error).__name__ != "PanicException":
            raise
        raise UserError("report: vl-convert failed to bundle Vega; check the limit on open files and the free memory") from error
    return script.replace("</script", "<\\/script")
