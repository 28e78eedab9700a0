"""Charts as Vega-Lite specifications, drawn by Altair's library in the reader's browser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import altair
import pandas

# Okabe & Ito 2008: eight colours that colour-blind readers can tell apart (black left out, yellow last)
PALETTE = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#999999", "#F0E442")
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-left", "triangle-right")
BESIDE = ("#882255", "#117733", "#332288", "#DDCC77")  # Tol's muted colours: runs, as against policies
FLOOR = "#888888"


def colour(policy: str, policies: Sequence[str]) -> str:
    """The colour of a policy, the same in every chart of a report."""
    return PALETTE[list(policies).index(policy) % len(PALETTE)]


def shape(policy: str, policies: Sequence[str]) -> str:
    """The point of a policy: after eight policies colours come again, but never with the same shape."""
    place = list(policies).index(policy)
    return SHAPES[(place + place // len(PALETTE)) % len(SHAPES)]


def over_seeds(rows: pandas.DataFrame) -> pandas.DataFrame:
    """Mean, least and greatest value over seeds, with the mean floor, for each metric, policy and generation."""
    grouped = rows.groupby(["metric", "policy", "generation"], sort=False)
    table = grouped.agg(
        mean=("value", "mean"),
        low=("value", "min"),
        high=("value", "max"),
        floor=("floor", "mean"),
        seeds=("seed", "nunique"),
        n=("n", "first"),
    ).reset_index()
    return table.assign(**{name: table[name].map(_drawn) for name in ("mean", "low", "high", "floor")})


def _drawn(value: float) -> float:
    """A number to twelve digits: equal numbers that differ by a rounding error would get an axis of their own."""
    return float(f"{value:.12g}")


def lines(rows: pandas.DataFrame, metric: str, policies: Sequence[str], *, height: int = 150) -> dict[str, Any]:
    """A metric over generations: a line per policy (mean over seeds), a band from the least to the greatest seed, the floor dashed."""
    found = rows[rows.metric == metric]
    data = over_seeds(found)
    shown = [policy for policy in policies if policy in set(data.policy)]
    colours = altair.Scale(domain=shown, range=[colour(policy, policies) for policy in shown])
    shapes = altair.Scale(domain=shown, range=[shape(policy, policies) for policy in shown])
    base = altair.Chart(data).encode(
        x=altair.X("generation:Q", axis=altair.Axis(tickMinStep=1, format="d", title="generation", grid=False)),
        color=altair.Color("policy:N", scale=colours, legend=None),
    )
    y = altair.Y("mean:Q", title=None, scale=altair.Scale(zero=False))
    tooltip = [
        altair.Tooltip("policy:N"),
        altair.Tooltip("generation:Q", format="d"),
        altair.Tooltip("mean:Q", format=".4g", title="mean over seeds"),
        altair.Tooltip("low:Q", format=".4g", title="least seed"),
        altair.Tooltip("high:Q", format=".4g", title="greatest seed"),
        altair.Tooltip("seeds:Q", format="d"),
        altair.Tooltip("n:Q", format="d", title="rows measured"),
    ]
    layers = [
        base.mark_area(opacity=0.18).encode(y=altair.Y("low:Q", title=None, scale=altair.Scale(zero=False)), y2="high:Q"),
        base.mark_line(strokeWidth=2).encode(y=y),
        base.mark_point(filled=True, size=45, opacity=1).encode(
            y=y, shape=altair.Shape("policy:N", scale=shapes, legend=None), tooltip=tooltip
        ),
    ]
    if found.floor.notna().any():
        floor = altair.Chart(pandas.DataFrame({"floor": [_drawn(found.floor.mean())]}))
        layers.insert(0, floor.mark_rule(strokeDash=[5, 4], color=FLOOR, strokeWidth=1.5).encode(
            y="floor:Q", tooltip=[altair.Tooltip("floor:Q", format=".4g", title="floor: real against real")]
        ))  # fmt: skip
    about = found.iloc[0]
    arrow = {True: " · higher is better", False: " · lower is better"}.get(about.higher_is_better, "")
    return {
        "title": metric.replace("_", " "),
        "unit": f"{about.unit}{arrow}",
        "spec": altair.layer(*layers).properties(width="container", height=height).to_dict(),
    }


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
    base = altair.Chart(data[data.policy.isin(shared)]).encode(
        x=altair.X("generation:Q", axis=altair.Axis(tickMinStep=1, format="d", title="generation", grid=False)),
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
    chart = (
        altair.layer(
            base.mark_area(opacity=0.18).encode(y=altair.Y("low:Q", title=title), y2="high:Q"),
            base.mark_line(strokeWidth=2).encode(y=y),
            base.mark_point(filled=True, size=45, opacity=1).encode(y=y, tooltip=tooltip, shape=altair.Shape("run:N", legend=None)),
        )
        .properties(width=190, height=170)
        .facet(altair.Facet("policy:N", title=None, sort=shared), columns=4)
    )
    return {
        "title": metric.replace("_", " "),
        "unit": "0: real against real" if share else "0: real against real · 1 away: generation 0",
        "spec": chart.to_dict(),
    }


def family(rows: pandas.DataFrame, name: str) -> dict[str, Any]:
    """Numbers of one family (`class_share/0`, `class_share/1`, ...) as a heat map over generations, a panel per policy."""
    found = rows[rows.metric.str.startswith(f"{name}/")]
    data = found.groupby(["policy", "generation", "metric"], sort=False).value.mean().reset_index()
    data["member"] = data.metric.str.partition("/")[2]
    policies = list(data.policy.unique())
    chart = (
        altair.Chart(data)
        .mark_rect()
        .encode(
            x=altair.X("generation:O", title="generation"),
            y=altair.Y("member:O", title=None),
            color=altair.Color(
                "value:Q", scale=altair.Scale(scheme="viridis"), title=found.unit.iloc[0], legend=altair.Legend(orient="bottom")
            ),
            tooltip=["policy:N", "generation:O", "member:O", altair.Tooltip("value:Q", format=".3f")],
        )
        .properties(width=105, height=150)
        .facet(altair.Facet("policy:N", title=None, sort=policies), columns=4)
    )
    return {"title": name.replace("_", " "), "unit": found.unit.iloc[0], "spec": chart.to_dict()}


def mixture(rows: pandas.DataFrame) -> dict[str, Any]:
    """What each generation was really trained on: rows by the generation that made them, stacked, a panel per policy."""
    found = rows[rows.metric.str.startswith("trained_rows/")]
    data = found[found.seed == found.seed.min()][["policy", "generation", "metric", "value"]].copy()
    data["birth"] = data.metric.str.partition("/")[2]
    births = ["real", *(f"generation {number}" for number in range(int(data.generation.max()) + 1))]
    chart = (
        altair.Chart(data)
        .mark_bar()
        .encode(
            x=altair.X("generation:O", title="generation"),
            y=altair.Y("value:Q", title="training rows", axis=altair.Axis(format="~s")),
            color=altair.Color("birth:N", sort=births, scale=altair.Scale(domain=births, range=_births(len(births))), legend=None),
            order=altair.Order("rank:Q"),
            tooltip=[
                "policy:N",
                "generation:O",
                altair.Tooltip("birth:N", title="born"),
                altair.Tooltip("value:Q", title="rows", format="d"),
            ],
        )
        .transform_calculate(rank=f"indexof({births!r}, datum.birth)")
        .properties(width=105, height=120)
        .facet(altair.Facet("policy:N", title=None, sort=list(data.policy.unique())), columns=4)
    )
    return {"title": "what was trained on", "unit": "rows by the generation that made them; green is real", "spec": chart.to_dict()}


def _births(count: int) -> list[str]:
    """Green for real rows, then ever darker greys-to-red for later generations."""
    shades = ["#F3D9C4", "#E9BE9B", "#DFA173", "#D5844C", "#C66A2C", "#AD541B", "#8F4213", "#70320D"]
    return ["#009E73", *(shades[min(number, len(shades) - 1)] for number in range(count - 1))]
