"""Row `growth`: time and memory against generations, rows, chains and model size, with the slope of each curve in a log-log plot.

A slope of 1 means that the cost is proportional. Slopes above 1.1 are flagged. Each curve runs in a process of its own, from its smallest
point to its largest one. The memory of a point is the peak of the process so far. Fixed costs, such as imports, lower all slopes.
"""

from __future__ import annotations

import json
import resource
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from .language import SMALL_LLAMA
from .processes import in_process

FLAGGED = 1.1
MEBIBYTE = 2**20
POLICY_SETTINGS: Mapping[str, Mapping[str, Any]] = {"window": {"generations": 3}, "mix": {"real_fraction": 0.5}}
"""Settings of the policies that have required ones."""
AXES = ("generations", "rows", "chains", "model size")


@dataclass(frozen=True)
class Size:
    """Size of an experiment."""

    generations: int = 4
    rows: int = 256
    chains: int = 1
    model: int = 0
    """Hidden size of a language model. 0: the generator is a Gaussian."""


def curves(factors: Sequence[int]) -> Mapping[str, Sequence[Size]]:
    """Return the sizes along each axis. A Gaussian makes the engine and the policy visible. `model size` uses a Llama."""
    base = Size()
    return {
        "generations": [replace(base, generations=8 * factor) for factor in factors],
        "rows": [replace(base, rows=8192 * factor) for factor in factors],
        "chains": [replace(base, chains=2 * factor) for factor in factors],
        "model size": [replace(base, generations=1, rows=32, model=48 * factor) for factor in factors],
    }


@dataclass(frozen=True)
class Point:
    """Time and memory of one run."""

    policy: str
    axis: str
    x: float
    """Value on the axis. For `model size`, the number of weights."""
    seconds: float
    bytes: int


def measure(tell: Callable[[str], None], *, factors: Sequence[int] = (1, 2, 4, 8)) -> list[Point]:
    """Measure all curves: each policy against generations, rows and chains, and one policy against model size."""
    points = []
    for policy in in_process(policy_names):
        for axis, sizes in curves(factors).items():
            if axis != "model size" or policy == "replace":
                tell(f"{policy}, {axis}")
                points += in_process(partial(measure_curve, policy, axis, sizes))
    return points


def policy_names() -> list[str]:
    from autophagy.common.config.registry import registered

    return sorted(registered("policy"))


def measure_curve(policy: str, axis: str, sizes: Sequence[Size]) -> list[Point]:
    """Run the sizes in order, after a warm-up of the first one."""
    from autophagy import run

    points: list[Point] = []
    for number, size in enumerate([sizes[0], *sizes]):
        config = experiment(policy, size)
        with tempfile.TemporaryDirectory(prefix="autophagy-bench-") as store:
            started = time.perf_counter()
            run(config, store=store)
            seconds = time.perf_counter() - started
        if number > 0:
            peak = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            points.append(Point(policy, axis, position(axis, size), seconds, peak))
    return points


def experiment(policy: str, size: Size) -> Any:
    """Build an experiment of this size with one policy."""
    from autophagy.common.config.schema import experiment

    rows_of_data = (size.generations + 2) * size.rows  # enough unseen rows for policies that use new ones in every generation
    config = {
        "name": "growth", "generations": size.generations, "size": size.rows, "eval_size": 16, "seeds": list(range(size.chains)),
        "policies": {policy: {"use": policy, **POLICY_SETTINGS.get(policy, {})}}, "unequal_steps": True,
    }  # fmt: skip
    if size.model:
        architecture = {**SMALL_LLAMA.architecture, "hidden_size": size.model, "intermediate_size": 2 * size.model}
        training = {"steps": 4, "batch": 8}
        generator = {"use": "causal-lm", "architecture": architecture, "vocabulary": 512, "context": 32, "training": training}
        return experiment({**config, "data": {"use": "bible", "words": 24}, "generator": generator, "metrics": ["distinct"]})
    data = {"use": "gaussian", "rows": rows_of_data, "replicates": 64}
    return experiment({**config, "data": data, "generator": "gaussian", "metrics": ["moments"]})


def position(axis: str, size: Size) -> float:
    """Return the value of a size on an axis. The weights of the Llama: 4 layers with 10 h^2 each, and the embedding."""
    if axis == "model size":
        return 4 * 10 * size.model**2 + 512 * size.model
    return float({"generations": size.generations, "rows": size.rows, "chains": size.chains}[axis])


# ---- results ------------------------------------------------------------------------------------------------------


def slope(x: Sequence[float], y: Sequence[float]) -> float:
    """Fit a line to the logarithms, with least squares. Returns its slope."""
    return float(np.polyfit(np.log(x), np.log(y), 1)[0])


def slopes(points: Sequence[Point]) -> Mapping[tuple[str, str], tuple[float, float]]:
    """Return the slopes of time and memory of each curve, by policy and axis."""
    results = {}
    for policy, axis in dict.fromkeys((point.policy, point.axis) for point in points):
        curve = [point for point in points if (point.policy, point.axis) == (policy, axis)]
        x = [point.x for point in curve]
        results[policy, axis] = slope(x, [point.seconds for point in curve]), slope(x, [point.bytes for point in curve])
    return results


def table(points: Sequence[Point]) -> str:
    """Return the slopes as a table in Markdown: a row per policy, and for each axis the slopes of time and memory."""
    by_curve = slopes(points)
    lines = ["| policy | " + " | ".join(f"{axis}: time, memory" for axis in AXES) + " |", "|---" * (len(AXES) + 1) + "|"]
    for policy in dict.fromkeys(point.policy for point in points):
        cells = [", ".join(map(cell, by_curve[policy, axis])) if (policy, axis) in by_curve else "" for axis in AXES]
        lines.append(f"| {policy} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def cell(value: float) -> str:
    """Format a slope. Slopes that are worse than linear are bold."""
    return f"**{value:.2f}**" if value > FLAGGED else f"{value:.2f}"


def draw(points: Sequence[Point], path: Path) -> None:
    """Draw time and memory of all curves with logarithmic axes, as SVG."""
    import vl_convert

    values = [{"policy": point.policy, "axis": point.axis, "x": point.x, "seconds": point.seconds} for point in points]
    memory = [{"policy": point.policy, "axis": point.axis, "x": point.x, "MiB": point.bytes / MEBIBYTE} for point in points]
    panels = [panel(axis, quantity, data) for quantity, data in (("seconds", values), ("MiB", memory)) for axis in AXES]
    spec = {"$schema": "https://vega.github.io/schema/vega-lite/v5.json", "concat": panels, "columns": len(AXES)}
    path.write_text(vl_convert.vegalite_to_svg(json.dumps(spec)))


def panel(axis: str, quantity: str, values: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the Vega-Lite specification of one panel."""
    logarithmic = {"type": "quantitative", "scale": {"type": "log", "nice": False}}
    return {
        "width": 170,
        "height": 170,
        "data": {"values": [value for value in values if value["axis"] == axis]},
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": {"field": "x", "title": "weights" if axis == "model size" else axis, **logarithmic},
            "y": {"field": quantity, "title": "peak memory, MiB" if quantity == "MiB" else "seconds", **logarithmic},
            "color": {"field": "policy", "title": "policy"},
        },
    }
