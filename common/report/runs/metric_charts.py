"""Charts of a metric over generations: for one run, or for several runs on the same axes."""

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
    quantitative,
    scale,
    shape,
    visible,
)

MAX_MARKS = 40
"""Maximum number of generations with a point or a bar. Lines include all generations."""
HEIGHT, COMPARISON_HEIGHT = 150, 170
"""Heights of charts in pixels."""


@dataclass(frozen=True)
class Chart:
    """A chart with its title and subtitle."""

    id: str
    """Metric id. It is also the name of files."""
    title: str
    subtitle: str
    spec: Spec

    @property
    def is_faceted(self) -> bool:
        return "facet" in self.spec


# ---- one metric ---------------------------------------------------------------------------------------------------------


def over_seeds(metric: Metric) -> list[dict[str, Any]]:
    """Compute for each policy and generation the mean over seeds, its interval, the number of seeds and the number of measured rows."""
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
                    "mean": round_digits(values.mean()),
                    "low": round_digits(low),
                    "high": round_digits(high),
                    "seeds": len(values),
                    "rows_measured": int(
                        next(chain.n[chain.generations == generation][0] for chain in chains if generation in chain.generations)
                    ),
                }
            )
    return points


def metric_chart(metric: Metric, policies: Sequence[str], config: Mapping[str, Any], *, height: int = HEIGHT) -> Chart:
    """Build the chart of a metric over generations.

    Each policy has a line (mean over seeds) and a band (interval). The floor is dashed. `policies` are all policies of the report; the
    position of a policy in this list determines its colour.
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
        datasets["floor"] = [_floor_point(metric)]
        layers = [*_floor_layers(), *layers]
    return Chart(
        metric.id,
        display_name(metric.id, config),
        display_unit(metric.unit) + direction(metric.higher_is_better),
        layered(layers, datasets, height=height),
    )


def _floor_point(metric: Metric) -> dict[str, Any]:
    """Return the floor of a metric, with the band of two standard deviations around it."""
    band = 2 * np.nan_to_num(metric.floor_sd)
    return {"floor": round_digits(metric.floor), "low": round_digits(metric.floor - band), "high": round_digits(metric.floor + band)}


def direction(higher_is_better: bool | None) -> str:
    """Return text that says which direction is better, to be appended to a unit."""
    return {True: " · higher is better", False: " · lower is better", None: ""}[higher_is_better]


def _floor_layers() -> list[Spec]:
    """Return the layers of the floor: a dashed line, and a band of ± 2 standard deviations between draws of the floor."""
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
    """Return an x axis of generations with ticks at whole numbers. By default Vega also puts ticks at halves if there are few."""
    ticks = list(range(0, last + 1, max(1, last // 10)))
    return quantitative("generation", axis={"values": ticks, "format": "d", "title": "generation", "grid": False})


def evenly_spaced(last: int, count: int) -> list[int]:
    """Return at most `count` generations, evenly spaced from 0 to `last`."""
    return sorted({round(number) for number in np.linspace(0, last, min(count, last + 1)).tolist()})


def round_digits(value: float) -> float:
    """Round to twelve digits. Otherwise the y axis would zoom in on rounding errors if all values are equal."""
    return float(f"{value:.12g}")


# ---- several runs -------------------------------------------------------------------------------------------------------


def comparison_chart(metrics: Mapping[str, Metric], configs: Mapping[str, Mapping[str, Any]]) -> Chart:
    """Build the chart of one metric of several runs, with one panel for each policy that at least two runs have.

    The floor of each run is subtracted, so that 0 is the floor. Shares keep their unit. Other metrics depend on the feature model, so
    they are also divided by the distance between generation 0 and the floor of the run.
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
    """Return the points of a metric minus the floor. If `scaled`, divide them by the distance between generation 0 and the floor."""
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
