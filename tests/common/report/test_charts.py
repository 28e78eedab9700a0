"""The builders of Vega-Lite specifications and the number formats that both reports use."""

from __future__ import annotations

from itertools import product

import pytest
from autophagy.common.report import charts


def test_every_name_has_its_own_pair_of_colour_and_shape():
    names = [f"policy {number}" for number in range(len(charts.PALETTE) * len(charts.SHAPES))]
    looks = [(charts.colour(name, names), charts.shape(name, names)) for name in names]
    assert set(looks) == set(product(charts.PALETTE, charts.SHAPES))


def test_nan_and_infinity_become_null():
    rows = [{"a": float("nan"), "b": float("inf"), "c": 1.5, "d": "x", "e": None}]
    spec = charts.layered([charts.layer("point", {}, data="rows")], {"rows": rows}, height=10)
    assert spec["datasets"] == {"rows": [{"a": None, "b": None, "c": 1.5, "d": "x", "e": None}]}


def test_vega_lite_accepts_the_specifications():
    import vl_convert

    points = charts.layer(
        "point",
        {"x": charts.quantitative("x"), "y": charts.quantitative("y"), "color": charts.nominal("name", scale=charts.scale("ab", "cd"))},
        data="rows",
        where=[charts.visible("name")],
        filled=True,
    )
    rows = [{"x": 0, "y": 1.0, "name": "a"}, {"x": 1, "y": 2.0, "name": "b"}]
    layered = charts.layered([points], {"rows": rows}, height=50)
    panel = {name: part for name, part in points.items() if name not in ("data", "transform")}
    faceted = charts.faceted(panel, rows, by="name", order=["b", "a"], height=50)
    for spec in (layered, faceted):
        svg = vl_convert.vegalite_to_svg(spec, vl_version=charts.VEGA_LITE)
        assert svg.count('aria-roledescription="point"') == 2
        hidden = {**spec, "params": [{"name": "hidden", "value": ["b"]}]}
        assert vl_convert.vegalite_to_svg(hidden, vl_version=charts.VEGA_LITE).count('aria-roledescription="point"') == 1


@pytest.mark.parametrize(
    ("value", "expected"), [(0.0123, "0.012"), (0.5, "0.50"), (-1.234, "−1.23"), (12.34, "12.3"), (1234.5, "1234"), (float("nan"), "–")]
)
def test_short_numbers_have_no_more_digits_than_needed(value, expected):
    assert charts.short(value) == expected


@pytest.mark.parametrize(("value", "expected"), [(1.26, "+1.3"), (-1.26, "−1.3"), (-0.04, "0.0"), (0.0, "0.0")])
def test_fixed_decimals_show_no_negative_zero(value, expected):
    assert charts.fixed(value, 1) == expected


def test_missing_numbers_are_dashes():
    assert charts.number(None) == charts.number(float("nan")) == charts.typeset(None) == "–"
    assert charts.number(-1.23456) == "-1.235" and charts.typeset(-1.23456) == "−1.235"
