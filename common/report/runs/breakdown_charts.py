"""Charts with one panel per policy: metric families (`class_share/0`, `class_share/1`, ...) and training rows by origin."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...analysis.metric_names import display_name, display_unit
from ...analysis.series import Metric, mean
from ..charts import FLOOR, FLOOR_DASH, PANEL_WIDTH, faceted, layer, nominal, ordinal, quantitative, scale
from .metric_charts import MAX_MARKS, Chart, evenly_spaced, round_digits

MAX_CURVES = 20
"""Maximum number of generations that a chart of a metric family shows."""
MAX_ORIGINS = 20
"""Maximum number of generated segments in a bar of training rows. In longer runs, generations are grouped."""
FAMILY_HEIGHT, TRAINING_HEIGHT = 130, 120
"""Heights of panels in pixels."""


# ---- families of metrics --------------------------------------------------------------------------------------------------


def family_chart(members: Mapping[str, Metric], family: str, config: Mapping[str, Any]) -> Chart:
    """Build the chart of a metric family (`frequency_ratio/01`, `frequency_ratio/02`, ...), with the members on the x axis.

    There is one panel per policy and one curve per generation. The floor is dashed. `members` contains the metrics by the part of the id
    after `/`.
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
    """Return the chart rows of one family member under one policy: means over seeds, one per generation."""
    chains = metric.of(policy)
    rows = []
    for generation in sorted({int(number) for chain in chains for number in chain.generations} & generations):
        at = [(chain, chain.generations == generation) for chain in chains]
        values = np.concatenate([chain.values[here] for chain, here in at])
        floors = np.concatenate([chain.floors[here] for chain, here in at])
        rows.append(
            {
                "policy": policy,
                "generation": generation,
                "member": name,
                "value": round_digits(mean(values)),
                "floor": round_digits(mean(floors)),
            }
        )
    return rows


def _member_order(member: str) -> tuple[float, str]:
    """Return a sort key: numbers in numeric order, then names in alphabetical order."""
    return (float(member), "") if member.replace(".", "", 1).isdigit() else (float("inf"), member)


# ---- training data ------------------------------------------------------------------------------------------------------

REAL_COLOUR = "#009E73"
GENERATION_COLOURS = ("#F3D9C4", "#E9BE9B", "#DFA173", "#D5844C", "#C66A2C", "#AD541B", "#8F4213", "#70320D")


def training_chart(metrics: Mapping[str, Metric]) -> Chart:
    """Build the chart of training data: stacked bars of training rows by origin, with one panel per policy. Shows the first seed only.

    The numbers of rows were counted during training. For a long run, the chart shows a selection of generations and groups the origins.
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
    return Chart("trained_on", "Training data", "rows by origin · green: real · brown: generated, darker for later generations", spec)


def _origin(generation: int, last: int) -> str:
    """Return the name of the group that a generation belongs to. `last` is the last generation of the run."""
    group = -(-last // MAX_ORIGINS) or 1
    first = generation // group * group
    until = min(first + group, last) - 1
    return f"generation {first}" if until == first else f"generations {first} to {until}"


def _origin_colours(count: int) -> list[str]:
    """Return `count` colours: green for real rows, then browns that get darker with later generations."""
    shades = [
        GENERATION_COLOURS[number * len(GENERATION_COLOURS) // max(count - 1, len(GENERATION_COLOURS))] for number in range(count - 1)
    ]
    return [REAL_COLOUR, *shades]
