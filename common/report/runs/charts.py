"""The charts of a run: metrics over generations, families of metrics, training data, and several runs on one axis."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...analysis.metric_names import display_name, display_unit
from ...analysis.series import Metric, mean
from ...analysis.summary import MIN_CHAINS_FOR_BOOTSTRAP, interval
from ..charts import (
    FLOOR,
    FLOOR_DASH,
    PANEL_WIDTH,
    RUN_COLOURS,
    SHAPES,
    Spec,
    colour,
    faceted,
    layer,
    layered,
    nominal,
    ordinal,
    quantitative,
    scale,
    shape,
    visible,
)

MAX_MARKS = 40
"""Generations of a long run that get a point or a bar. Lines have all generations."""
MAX_CURVES = 20
"""Generations of a long run that get a curve of their own in a family."""
MAX_ORIGINS = 20
"""Colours of a bar of training rows. Generations of a longer run are grouped."""
HEIGHT, FAMILY_HEIGHT, TRAINING_HEIGHT, COMPARISON_HEIGHT = 150, 130, 120, 170
"""Heights of charts in pixels."""


@dataclass(frozen=True)
class Chart:
    """A chart with its heading."""

    id: str
    """The metric id, which names files."""
    title: str
    subtitle: str
    spec: Spec

    @property
    def is_faceted(self) -> bool:
        return "facet" in self.spec


# ---- one metric ---------------------------------------------------------------------------------------------------------


def over_seeds(metric: Metric) -> list[dict[str, Any]]:
    """For each policy and generation the mean over seeds with its interval, and how many seeds and rows it is computed from."""
    bootstrap = max(len(metric.of(policy)) for policy in metric.policies) >= MIN_CHAINS_FOR_BOOTSTRAP
    points = []
    for policy in metric.policies:
        chains = metric.of(policy)
        for generation in sorted({int(number) for chain in chains for number in chain.generations}):
            values = np.array([chain.values[chain.generations == generation][0] for chain in chains if generation in chain.generations])
            low, high = interval(values) if bootstrap else (values.min(), values.max())
            points.append(
                {
                    "policy": policy,
                    "generation": generation,
                    "mean": _round(values.mean()),
                    "low": _round(low),
                    "high": _round(high),
                    "seeds": len(values),
                    "rows_measured": int(
                        next(chain.n[chain.generations == generation][0] for chain in chains if generation in chain.generations)
                    ),
                }
            )
    return points


def metric_chart(metric: Metric, policies: Sequence[str], config: Mapping[str, Any], *, height: int = HEIGHT) -> Chart:
    """A metric over generations: for each policy a line (mean over seeds) with a band (interval); the floor is dashed.

    `policies` are those of the whole report: they fix the colours.
    """
    points = over_seeds(metric)
    shown = [policy for policy in policies if policy in metric.policies]
    common = {
        "x": _generation_axis(metric.last_generation),
        "color": nominal("policy", scale=scale(shown, [colour(policy, policies) for policy in shown]), legend=None),
    }
    value = quantitative("mean", title=None, scale={"zero": False})
    tooltip = [
        nominal("policy"),
        quantitative("generation", format="d"),
        quantitative("mean", format=".4g", title="mean over seeds"),
        quantitative("low", format=".4g", title="from"),
        quantitative("high", format=".4g", title="to"),
        quantitative("seeds", format="d"),
        quantitative("rows_measured", format="d", title="rows measured"),
    ]
    shapes = nominal("policy", scale=scale(shown, [shape(policy, policies) for policy in shown]), legend=None)
    policy_shown = visible("policy")
    with_point = {"field": "generation", "oneOf": evenly_spaced(metric.last_generation, MAX_MARKS)}
    layers = [
        layer(
            "area",
            {**common, "y": quantitative("low", title=None, scale={"zero": False}), "y2": {"field": "high"}},
            data="points",
            where=[policy_shown],
            opacity=0.18,
        ),
        layer("line", {**common, "y": value}, data="points", where=[policy_shown], strokeWidth=2),
        layer(
            "point",
            {**common, "y": value, "shape": shapes, "tooltip": tooltip},
            data="points",
            where=[policy_shown, with_point],
            filled=True,
            size=45,
            opacity=1,
        ),
    ]
    datasets: dict[str, list[dict[str, Any]]] = {"points": points}
    if not np.isnan(metric.floor):
        scatter = np.nan_to_num(metric.floor_sd)
        datasets["floor"] = [
            {"floor": _round(metric.floor), "low": _round(metric.floor - 2 * scatter), "high": _round(metric.floor + 2 * scatter)}
        ]
        layers = [*_floor_layers(), *layers]
    return Chart(
        metric.id,
        display_name(metric.id, config),
        display_unit(metric.unit) + direction(metric.higher_is_better),
        layered(layers, datasets, height=height),
    )


def direction(higher_is_better: bool | None) -> str:
    """Which direction is better, as text after a unit."""
    return {True: " · higher is better", False: " · lower is better", None: ""}[higher_is_better]


def _floor_layers() -> list[Spec]:
    """The floor as a dashed line in a band of two standard deviations between its draws."""
    tooltip = [
        quantitative("floor", format=".4g", title="floor (real vs. real)"),
        quantitative("low", format=".4g", title="floor − 2 sd"),
        quantitative("high", format=".4g", title="floor + 2 sd"),
    ]
    return [
        layer("rect", {"y": quantitative("low"), "y2": {"field": "high"}}, data="floor", color=FLOOR, opacity=0.2),
        layer(
            "rule",
            {"y": quantitative("floor"), "tooltip": tooltip},
            data="floor",
            strokeDash=FLOOR_DASH,
            color=FLOOR,
            strokeWidth=1.5,
        ),
    ]


def _generation_axis(last: int) -> Spec:
    """Generations on the x axis with whole ticks: Vega puts ticks at halves if there are few."""
    ticks = list(range(0, last + 1, max(1, last // 10)))
    return quantitative("generation", axis={"values": ticks, "format": "d", "title": "generation", "grid": False})


def evenly_spaced(last: int, count: int) -> list[int]:
    """At most `count` generations, evenly spaced from 0 to `last`."""
    return sorted({round(number) for number in np.linspace(0, last, min(count, last + 1)).tolist()})


def _round(value: float) -> float:
    """Twelve digits: values that differ only by rounding errors would get an axis of their own."""
    return float(f"{value:.12g}")


# ---- several runs -------------------------------------------------------------------------------------------------------


def comparison_chart(metrics: Mapping[str, Metric], configs: Mapping[str, Mapping[str, Any]]) -> Chart:
    """One metric of several runs on one axis, with a panel for each policy that at least two runs have.

    Shares are shown as measured, with 0 at the run's floor. Distances depend on the feature model, so they are scaled: 0 is the run's
    floor and 1 is the run's generation 0.
    """
    share = all(metric.unit.startswith("share") for metric in metrics.values())
    rows = [row for run, metric in metrics.items() for row in _above_floor(run, metric, scaled=not share)]
    policies = list(dict.fromkeys(row["policy"] for row in rows))
    shared = [policy for policy in policies if sum(policy in metric.policies for metric in metrics.values()) > 1]
    last = max(metric.last_generation for metric in metrics.values())
    title = "above the floor" if share else "distance from the floor"
    common = {
        "x": _generation_axis(last),
        "color": nominal("run", scale=scale(list(metrics), RUN_COLOURS[: len(metrics)]), legend=None),
    }
    tooltip = [
        nominal("run"),
        nominal("policy"),
        quantitative("generation", format="d"),
        quantitative("mean", format=".3g", title=title),
        quantitative("measured", format=".4g", title="as measured"),
        quantitative("rows_measured", format="d", title="rows measured"),
    ]
    value = quantitative("mean", title=title)
    layers = [
        layer("rule", {"y": {"datum": 0}}, strokeDash=FLOOR_DASH, color=FLOOR, strokeWidth=1.5),
        layer("area", {**common, "y": quantitative("low", title=title), "y2": {"field": "high"}}, opacity=0.18),
        layer("line", {**common, "y": value}, strokeWidth=2),
        layer(
            "point",
            {
                **common,
                "y": value,
                "tooltip": tooltip,
                "shape": nominal("run", legend=None, scale=scale(list(metrics), SHAPES[: len(metrics)])),
            },
            where=[{"field": "generation", "oneOf": evenly_spaced(last, MAX_MARKS)}],
            filled=True,
            size=45,
            opacity=1,
        ),
    ]
    spec = faceted(
        {"layer": layers},
        [row for row in rows if row["policy"] in shared],
        by="policy",
        order=shared,
        width=PANEL_WIDTH - 10,
        height=COMPARISON_HEIGHT,
    )
    names = {display_name(metric.id, configs[run]) for run, metric in metrics.items()}
    [metric_id] = {metric.id for metric in metrics.values()}
    return Chart(
        metric_id,
        names.pop() if len(names) == 1 else display_name(metric_id),
        "0 = floor (real vs. real)" if share else "0 = floor (real vs. real) · ±1 = generation 0",
        spec,
    )


def _above_floor(run: str, metric: Metric, *, scaled: bool) -> list[dict[str, Any]]:
    """The points of a metric, less the floor and, if `scaled`, divided by generation 0's distance from the floor."""
    points = over_seeds(metric)
    first = mean(np.array([point["mean"] for point in points if point["generation"] == 0]))
    divisor = abs(first - metric.floor) if scaled else 1.0
    return [
        {
            **point,
            "run": run,
            "measured": point["mean"],
            **{name: (point[name] - metric.floor) / divisor for name in ("mean", "low", "high")},
        }
        for point in points
    ]


# ---- families of metrics --------------------------------------------------------------------------------------------------


def family_chart(members: Mapping[str, Metric], family: str, config: Mapping[str, Any]) -> Chart:
    """The metrics of a family (`frequency_ratio/01`, `frequency_ratio/02`, ...) along the x axis.

    A curve per generation, a panel per policy; the floor is dashed. `members` holds the metrics by the part after `/`.
    """
    names = sorted(members, key=_member_order)
    policies = list(dict.fromkeys(policy for metric in members.values() for policy in metric.policies))
    last = max(metric.last_generation for metric in members.values())
    shown = set(evenly_spaced(last, MAX_CURVES))
    rows = [row for policy in policies for name, metric in members.items() for row in _family_rows(policy, name, metric, shown)]
    rows.sort(key=lambda row: (policies.index(row["policy"]), row["generation"]))
    x = ordinal("member", title=None, sort=names, axis={"labelAngle": 0 if len(max(names, key=len)) < 4 else -90, "labelOverlap": True})
    colours = quantitative(
        "generation",
        scale={"scheme": "viridis"},
        legend={"orient": "bottom", "tickMinStep": 1, "format": "d", "gradientLength": 120},
    )
    value = quantitative("value", title=None)
    tooltip = [
        nominal("policy"),
        quantitative("generation", format="d"),
        ordinal("member"),
        quantitative("value", format=".3g"),
        quantitative("floor", format=".3g"),
    ]
    curves = [
        layer("line", {"x": x, "y": value, "color": colours, "detail": ordinal("generation")}, strokeWidth=1.5),
        layer("point", {"x": x, "y": value, "color": colours, "tooltip": tooltip}, filled=True, size=25, opacity=1),
    ]
    if all(np.isnan(metric.floor) for metric in members.values()):
        rows = [{name: value for name, value in row.items() if name != "floor"} for row in rows]
    else:
        floor = {"x": x, "y": {"aggregate": "mean", **quantitative("floor", title=None)}}
        curves = [layer("line", floor, strokeDash=FLOOR_DASH, color=FLOOR, strokeWidth=1.5), *curves]
    first = next(iter(members.values()))
    spec = faceted({"layer": curves}, rows, by="policy", order=policies, height=FAMILY_HEIGHT)
    return Chart(family, display_name(family, config), display_unit(first.unit), spec)


def _family_rows(policy: str, name: str, metric: Metric, generations: set[int]) -> list[dict[str, Any]]:
    """The means over seeds of one member under one policy."""
    chains = metric.of(policy)
    rows = []
    for generation in sorted({int(number) for chain in chains for number in chain.generations} & generations):
        at = [(chain, chain.generations == generation) for chain in chains]
        values = np.concatenate([chain.values[here] for chain, here in at])
        floors = np.concatenate([chain.floors[here] for chain, here in at])
        rows.append(
            {"policy": policy, "generation": generation, "member": name, "value": _round(mean(values)), "floor": _round(mean(floors))}
        )
    return rows


def _member_order(member: str) -> tuple[float, str]:
    """Numbers by size, then names by letter."""
    return (float(member), "") if member.replace(".", "", 1).isdigit() else (float("inf"), member)


# ---- training data ------------------------------------------------------------------------------------------------------

REAL_COLOUR = "#009E73"
GENERATION_COLOURS = ("#F3D9C4", "#E9BE9B", "#DFA173", "#D5844C", "#C66A2C", "#AD541B", "#8F4213", "#70320D")


def training_chart(metrics: Mapping[str, Metric]) -> Chart:
    """What each generation was trained on, as counted: stacked bars of rows by origin, a panel per policy. First seed only.

    A long run shows some of its generations, and groups the generations that rows come from.
    """
    counts = {metric.id.partition("/")[2]: metric for metric in metrics.values() if metric.id.startswith("trained_rows/")}
    last = max(metric.last_generation for metric in metrics.values())
    shown = set(evenly_spaced(last, MAX_MARKS))
    origins = {"real": "real"} | {f"generation {number}": _origin(number, last) for number in range(last)}
    first_seed = min((chain.seed for metric in counts.values() for chain in metric.chains), default=0)
    totals: dict[tuple[str, int, str], float] = {}
    for name, metric in counts.items():
        for chain in metric.chains:
            for generation, value in zip(chain.generations.tolist(), chain.values.tolist(), strict=True):
                if chain.seed == first_seed and generation in shown:
                    key = (chain.policy, generation, origins[name])
                    totals[key] = totals.get(key, 0.0) + value
    policies = list(dict.fromkeys(policy for metric in metrics.values() for policy in metric.policies))
    order = list(dict.fromkeys(origins.values()))
    rows = [
        {"policy": policy, "generation": generation, "origin": origin, "value": value, "rank": order.index(origin)}
        for (policy, generation, origin), value in sorted(
            totals.items(), key=lambda item: (policies.index(item[0][0]), item[0][1], order.index(item[0][2]))
        )
    ]
    encoding = {
        "x": ordinal("generation", title="generation", axis={"labelAngle": 0 if last < 10 else -90, "labelOverlap": True}),
        "y": quantitative("value", title="training rows", axis={"format": "~s"}),
        "color": nominal("origin", sort=order, scale=scale(order, _origin_colours(len(order))), legend=None),
        "order": quantitative("rank"),
        "tooltip": [
            nominal("policy"),
            ordinal("generation"),
            nominal("origin", title="rows from"),
            quantitative("value", title="rows", format="d"),
        ],
    }
    spec = faceted(layer("bar", encoding), rows, by="policy", order=policies, width=PANEL_WIDTH / 2 + 5, height=TRAINING_HEIGHT)
    return Chart("trained_on", "Training data", "rows by origin; green: real, darker: later generation", spec)


def _origin(generation: int, last: int) -> str:
    """The name of the group of generations that a generation belongs to."""
    group = -(-last // MAX_ORIGINS) or 1
    first = generation // group * group
    until = min(first + group, last) - 1
    return f"generation {first}" if until == first else f"generations {first} to {until}"


def _origin_colours(count: int) -> list[str]:
    """Green for real rows, then darker browns for later generations."""
    shades = [
        GENERATION_COLOURS[number * len(GENERATION_COLOURS) // max(count - 1, len(GENERATION_COLOURS))] for number in range(count - 1)
    ]
    return [REAL_COLOUR, *shades]
