"""Charts as Vega-Lite specifications, drawn by Altair's library in the reader's browser or, for `figures`, into files.

Every specification has a parameter `hidden`, a list of policies that are not drawn: the page's switches set it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair
import numpy as np
import pandas

from ...analysis.summary import FEW, interval

# Okabe & Ito 2008: eight colours that colour-blind readers can tell apart (black left out, yellow last)
PALETTE = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999", "#F0E442")
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-left", "triangle-right")
BESIDE = ("#882255", "#117733", "#332288", "#DDCC77")  # Tol's muted colours: runs, as against policies
FLOOR = "#888888"
HIDDEN = altair.param(name="hidden", value=[])
SHOWN = "indexof(hidden, datum.policy) < 0"
VEGA_LITE = "v" + ".".join(altair.SCHEMA_VERSION.lstrip("v").split(".")[:2])
PANEL = 200
"""Width of a panel of small multiples, in pixels."""
MARKS, CURVES, BIRTHS = 40, 20, 20
"""Generations of a long run that get a point or a bar, that get a line each, and groups that births are taken together in; lines over
generations have all of them."""


def colour(policy: str, policies: Sequence[str]) -> str:
    """The colour of a policy, the same in every chart of a report."""
    return PALETTE[list(policies).index(policy) % len(PALETTE)]


def shape(policy: str, policies: Sequence[str]) -> str:
    """The point of a policy: after eight policies colours come again, but never with the same shape."""
    place = list(policies).index(policy)
    return SHAPES[(place + place // len(PALETTE)) % len(SHAPES)]


SPELT = {
    "nll": "NLL",
    "frechet": "Fréchet",
    "vendi": "Vendi",
    "heldout": "held-out",
    "bleu": "BLEU",
    "mauve": "MAUVE",
    "ms": "MS",
    "ssim": "SSIM",
}


def spelt(metric: str) -> str:
    """A metric's name as people write it."""
    return " ".join(SPELT.get(word, word) for word in metric.split("_"))


def over_seeds(rows: pandas.DataFrame) -> pandas.DataFrame:
    """Mean over seeds with its interval, and the mean floor with its scatter, for each metric, policy and generation."""
    grouped = rows.groupby(["metric", "policy", "generation"], sort=False)
    table = grouped.agg(
        mean=("value", "mean"),
        low=("value", "min"),
        high=("value", "max"),
        floor=("floor", "mean"),
        floor_sd=("floor_sd", "mean"),
        seeds=("seed", "nunique"),
        n=("n", "first"),
    )
    if table.seeds.max() >= FEW:
        spread = [interval(values.to_numpy()) for _, values in grouped.value]
        table["low"], table["high"] = zip(*spread, strict=True)
    return table.reset_index().assign(**{name: table[name].map(_drawn).to_numpy() for name in ("mean", "low", "high", "floor", "floor_sd")})


def _drawn(value: float) -> float:
    """A number to twelve digits: equal numbers that differ by a rounding error would get an axis of their own."""
    return float(f"{value:.12g}")


def lines(rows: pandas.DataFrame, metric: str, policies: Sequence[str], *, height: int = 150) -> dict[str, Any]:
    """A metric over generations: a line per policy (mean over seeds), a band for its interval, the floor dashed with its scatter."""
    found = rows[rows.metric == metric]
    data = over_seeds(found)
    shown = [policy for policy in policies if policy in set(data.policy)]
    colours = altair.Scale(domain=shown, range=[colour(policy, policies) for policy in shown])
    shapes = altair.Scale(domain=shown, range=[shape(policy, policies) for policy in shown])
    base = (
        altair.Chart(data.drop(columns=["metric", "floor", "floor_sd"]))
        .transform_filter(SHOWN)
        .encode(x=_generations(int(data.generation.max())), color=altair.Color("policy:N", scale=colours, legend=None))
    )
    y = altair.Y("mean:Q", title=None, scale=altair.Scale(zero=False))
    tooltip = [
        altair.Tooltip("policy:N"),
        altair.Tooltip("generation:Q", format="d"),
        altair.Tooltip("mean:Q", format=".4g", title="mean over seeds"),
        altair.Tooltip("low:Q", format=".4g", title="from"),
        altair.Tooltip("high:Q", format=".4g", title="to"),
        altair.Tooltip("seeds:Q", format="d"),
        altair.Tooltip("n:Q", format="d", title="rows measured"),
    ]
    points = base.mark_point(filled=True, size=45, opacity=1).transform_filter(_marked(data))
    layers = [
        base.mark_area(opacity=0.18).encode(y=altair.Y("low:Q", title=None, scale=altair.Scale(zero=False)), y2="high:Q"),
        base.mark_line(strokeWidth=2).encode(y=y),
        points.encode(y=y, shape=altair.Shape("policy:N", scale=shapes, legend=None), tooltip=tooltip),
    ]
    if found.floor.notna().any():
        layers = [*_floor(found), *layers]
    return {
        "name": metric,
        "title": spelt(metric),
        "unit": f"{found.unit.iloc[0]}{better(found.higher_is_better.iloc[0])}",
        "spec": finished(altair.layer(*layers), height),
    }


def _marked(data: pandas.DataFrame) -> altair.FieldOneOfPredicate:
    """The generations that get a point."""
    return altair.FieldOneOfPredicate(field="generation", oneOf=spread(int(data.generation.max()), MARKS))


def better(higher: bool | None) -> str:
    """Which direction is better, in words, after a unit."""
    return {True: " · higher is better", False: " · lower is better"}.get(higher, "")


def specification(chart: altair.TopLevelMixin) -> dict[str, Any]:
    """A chart as Vega-Lite; Altair's limit of 5,000 rows is for notebooks, a run of hundreds of generations has more."""
    with altair.data_transformers.disable_max_rows():
        return chart.add_params(HIDDEN).to_dict()


def finished(chart: altair.LayerChart, height: int) -> dict[str, Any]:
    """A chart's specification, as wide as there is room for."""
    return specification(chart.properties(width="container", height=height))


def spread(last: int, most: int) -> list[int]:
    """At most so many generations, evenly, from 0 to the last."""
    return sorted({round(number) for number in np.linspace(0, last, min(most, last + 1)).tolist()})


def _generations(last: int) -> altair.X:
    """Generations along the axis, ticked whole: Vega would put ticks at halves where there are few."""
    ticks = list(range(0, last + 1, max(1, last // 10)))
    return altair.X("generation:Q", axis=altair.Axis(values=ticks, format="d", title="generation", grid=False))


def _floor(found: pandas.DataFrame) -> list[altair.Chart]:
    """The floor as a dashed rule in a band of two standard deviations of its scatter."""
    floor, scatter = found.floor.mean(), np.nan_to_num(found.floor_sd.mean())
    at = altair.Chart(
        pandas.DataFrame({"floor": [_drawn(floor)], "low": [_drawn(floor - 2 * scatter)], "high": [_drawn(floor + 2 * scatter)]})
    )
    tooltip = [
        altair.Tooltip("floor:Q", format=".4g", title="floor: real against real"),
        altair.Tooltip("low:Q", format=".4g", title="less two sd of its draws"),
        altair.Tooltip("high:Q", format=".4g", title="and two sd more"),
    ]
    return [
        at.mark_rect(color=FLOOR, opacity=0.2).encode(y="low:Q", y2="high:Q"),
        at.mark_rule(strokeDash=[5, 4], color=FLOOR, strokeWidth=1.5).encode(y="floor:Q", tooltip=tooltip),
    ]


def beside(tables: Mapping[str, pandas.DataFrame], metric: str) -> dict[str, Any]:
    """One statistic of several runs on one axis, a panel per policy.

    Shares mean the same everywhere: 0 is the run's floor. Distances do not: 0 is the floor, 1 where the run's generation 0 stood.
    """
    found, share = [], all(rows[rows.metric == metric].unit.iloc[0].startswith("share") for rows in tables.values())
    for run, rows in tables.items():
        data = over_seeds(rows[rows.metric == metric])
        floor, first = data.floor.mean(), data[data.generation == 0]["mean"].mean()
        scaled = {name: (data[name] - floor) / (1 if share else abs(first - floor)) for name in ("mean", "low", "high")}
        found.append(data.assign(run=run, measured=data["mean"], **scaled))
    data = pandas.concat(found)
    shared = [policy for policy in data.policy.unique() if data[data.policy == policy].run.nunique() > 1]
    base = altair.Chart().encode(
        x=_generations(int(data.generation.max())),
        color=altair.Color("run:N", scale=altair.Scale(domain=list(tables), range=BESIDE[: len(tables)]), legend=None),
    )
    title = "above the floor" if share else "from the floor, generation 0 = 1"
    tooltip = [
        *("run:N", "policy:N"),
        altair.Tooltip("generation:Q", format="d"),
        altair.Tooltip("mean:Q", format=".3g", title=title),
        altair.Tooltip("measured:Q", format=".4g", title="as measured"),
        altair.Tooltip("n:Q", format="d", title="rows measured"),
    ]
    y = altair.Y("mean:Q", title=title)
    rule = altair.Chart().mark_rule(strokeDash=[5, 4], color=FLOOR, strokeWidth=1.5)
    chart = (
        altair.layer(
            rule.encode(y=altair.datum(0)),
            base.mark_area(opacity=0.18).encode(y=altair.Y("low:Q", title=title), y2="high:Q"),
            base.mark_line(strokeWidth=2).encode(y=y),
            base.mark_point(filled=True, size=45, opacity=1)
            .transform_filter(_marked(data))
            .encode(y=y, tooltip=tooltip, shape=altair.Shape("run:N", legend=None, scale=altair.Scale(domain=list(tables)))),
            data=data[data.policy.isin(shared)].drop(columns=["metric", "floor", "floor_sd"]),
        )
        .properties(width=PANEL - 10, height=170)
        .facet(altair.Facet("policy:N", title=None, sort=shared), columns=4)
        .transform_filter(SHOWN)
    )
    return {
        "name": metric,
        "title": spelt(metric),
        "unit": "0: real against real" if share else "0: real against real · 1 away: generation 0",
        "spec": specification(chart),
    }


def profile(rows: pandas.DataFrame, family: str) -> dict[str, Any]:
    """The numbers of a family (`word_ratio/01`, `word_ratio/02`, ...) side by side, a line per generation and a panel per policy; the
    floor dashed."""
    found = rows[rows.metric.str.startswith(f"{family}/") & rows.generation.isin(spread(int(rows.generation.max()), CURVES))]
    data = found.groupby(["policy", "generation", "metric"], sort=False)[["value", "floor"]].mean().reset_index()
    data["member"] = data.metric.str.partition("/")[2]
    policies, members = list(data.policy.unique()), sorted(data.member.unique(), key=_place)
    x = altair.X(
        "member:O", title=None, sort=members, axis=altair.Axis(labelAngle=0 if len(max(members, key=len)) < 4 else -90, labelOverlap=True)
    )
    unit = found.unit.iloc[0]
    base = altair.Chart().encode(x=x)
    tooltip = ["policy:N", "generation:Q", "member:O", altair.Tooltip("value:Q", format=".3g"), altair.Tooltip("floor:Q", format=".3g")]
    colours = altair.Color(
        "generation:Q",
        scale=altair.Scale(scheme="viridis"),
        legend=altair.Legend(orient="bottom", tickMinStep=1, format="d", gradientLength=120),
    )
    y = altair.Y("value:Q", title=None)
    layers = [
        base.mark_line(strokeDash=[5, 4], color=FLOOR, strokeWidth=1.5).encode(y=altair.Y("mean(floor):Q", title=None)),
        base.mark_line(strokeWidth=1.5).encode(y=y, color=colours, detail="generation:O"),
        base.mark_point(filled=True, size=25, opacity=1).encode(y=y, color=colours, tooltip=tooltip),
    ]
    if found.floor.isna().all():
        layers, data = layers[1:], data.drop(columns="floor")
    chart = (
        altair.layer(*layers, data=data.drop(columns="metric"))
        .properties(width=PANEL, height=130)
        .facet(altair.Facet("policy:N", title=None, sort=policies), columns=4)
        .transform_filter(SHOWN)
    )
    return {"name": family, "title": spelt(family), "unit": unit, "spec": specification(chart)}


def _place(member: str) -> tuple[float, str]:
    """Numbers by size, names by letters."""
    return (float(member), "") if member.replace(".", "", 1).isdigit() else (float("inf"), member)


def mixture(rows: pandas.DataFrame) -> dict[str, Any]:
    """What each generation was really trained on: rows by the generation that made them, stacked, a panel per policy.

    Of a long run some generations, and births taken together.
    """
    found, last = rows[rows.metric.str.startswith("trained_rows/")], int(rows.generation.max())
    found = found[(found.seed == found.seed.min()) & found.generation.isin(spread(last, MARKS))]
    together = -(-last // BIRTHS) or 1
    names = {"real": "real"} | {f"generation {number}": _birth(number // together * together, together, last) for number in range(last)}
    data = found.assign(birth=found.metric.str.partition("/")[2].map(names))
    data = data.groupby(["policy", "generation", "birth"], sort=False).value.sum().reset_index()
    count_by_generation = list(dict.fromkeys(names.values()))
    chart = (
        altair.Chart(data)
        .mark_bar()
        .encode(
            x=altair.X("generation:O", title="generation", axis=altair.Axis(labelAngle=0 if last < 10 else -90, labelOverlap=True)),
            y=altair.Y("value:Q", title="training rows", axis=altair.Axis(format="~s")),
            color=altair.Color("birth:N", sort=count_by_generation, scale=altair.Scale(domain=count_by_generation, range=_births(len(count_by_generation))), legend=None),
            order=altair.Order("rank:Q"),
            tooltip=[
                "policy:N",
                "generation:O",
                altair.Tooltip("birth:N", title="born"),
                altair.Tooltip("value:Q", title="rows", format="d"),
            ],
        )
        .transform_calculate(rank=f"indexof({count_by_generation!r}, datum.birth)")
        .properties(width=PANEL / 2 + 5, height=120)
        .facet(altair.Facet("policy:N", title=None, sort=list(data.policy.unique())), columns=4)
        .transform_filter(SHOWN)
    )
    return {
        "name": "trained_on",
        "title": "what was trained on",
        "unit": "rows by the generation that made them; green is real",
        "spec": specification(chart),
    }


def _birth(first: int, together: int, last: int) -> str:
    until = min(first + together, last) - 1
    return f"generation {first}" if until == first else f"generations {first} to {until}"


def _births(count: int) -> list[str]:
    """Green for real rows, then ever darker greys-to-red for later generations."""
    shades = ["#F3D9C4", "#E9BE9B", "#DFA173", "#D5844C", "#C66A2C", "#AD541B", "#8F4213", "#70320D"]
    return ["#009E73", *(shades[number * len(shades) // max(count - 1, len(shades))] for number in range(count - 1))]
