"""From run folders to one HTML file. Reads rows and samples; never knows how they came about."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import pandas
import yaml
from markupsafe import Markup

from ..errors import UserError
from ..plugins import find
from ..pool import REAL, Pool
from . import charts

NEEDED = ("config.yaml", "rows.parquet", "provenance.json", "samples/pool.arrow")
AXES = {
    "fidelity": "Is what it makes like the real thing?",
    "likelihood": "How well do models predict real data, and how likely is what they make?",
    "diversity": "Is what it makes varied?",
    "tail": "What became of the rare?",
    "memorisation": "Does it repeat its training data?",
    "mixture": "How real is what it trains on, and what is kept of what is made?",
}
SHARED = ("fidelity", "diversity", "tail")
"""Axes whose numbers mean the same in every modality; likelihoods have units of their own."""


@dataclass(frozen=True)
class Run:
    """A run folder, read."""

    name: str
    folder: Path
    config: Mapping[str, Any]
    config_text: str
    rows: pandas.DataFrame
    samples: Pool
    models: Sequence[Mapping[str, Any]]
    seconds: Mapping[str, float]
    """What each kind of stage cost."""
    generators: Sequence[str]

    @classmethod
    def read(cls, folder: Path) -> Run:
        if missing := [name for name in NEEDED if not (folder / name).is_file()]:
            raise UserError(f"{folder}: is not the folder of a finished run: it has no {missing[0]}")
        try:
            config_text = (folder / "config.yaml").read_text(encoding="utf-8")
            config = yaml.safe_load(config_text)
            rows = pandas.read_parquet(folder / "rows.parquet")
            samples = Pool.load(folder / "samples")
            made = json.loads((folder / "provenance.json").read_text())
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise UserError(f"{folder}: cannot be read: {error}") from error
        generators = list(rows.generator.unique())
        if len(generators) > 1:  # a line of its own for each generator of a chain
            rows["policy"] = rows.policy + " · " + rows.generator
            named = [" · ".join(pair) if pair[0] else "" for pair in zip(samples.list("_policy"), samples.list("_generator"), strict=True)]
            samples = samples.note(policy=named)
        return cls(str(config["name"]), folder, config, config_text, rows, samples, made["models"], made["seconds"], generators)

    @property
    def modality(self) -> str:
        return self.rows.modality.iloc[0]

    @property
    def headline(self) -> str:
        """The number the run is judged by: the first of its config's first metric that has a better and a worse."""
        judged = self.rows[self.rows.higher_is_better.notna() & ~self.rows.axis.isin(["mixture", "cost"])]
        return (judged if len(judged) else self.rows[~self.rows.axis.isin(["mixture", "cost"])]).metric.iloc[0]


def write_report(runs: Sequence[str | Path], output: str | Path) -> None:
    """Write one self-contained HTML file about one or more run folders, side by side.

    Raises UserError if a folder is not a finished run or the file cannot be written.
    """
    read = [Run.read(Path(folder)) for folder in runs]
    policies = list(dict.fromkeys(policy for run in read for policy in run.rows.policy.unique()))
    page = (
        _environment()
        .get_template("page.html")
        .render(
            runs=read,
            policies=[(policy, charts.colour(policy, policies)) for policy in policies],
            answers=[answer(run) for run in read],
            headlines=[charts.lines(run.rows, run.headline, policies, height=260) for run in read],
            shared=[charts.beside({run.name: run.rows for run in read}, metric) for metric in shared_metrics(read)],
            run_colours=dict(zip([run.name for run in read], charts.BESIDE, strict=False)),
            axes=[(axis, about, [_charts_of(run, axis, policies) for run in read]) for axis, about in AXES.items() if _any(read, axis)],
            mixtures=[charts.mixture(run.rows) for run in read],
            steps=[_steps(run) for run in read],
            samples=[_samples(run) for run in read],
            provenance=[_provenance(run) for run in read],
            tables=[final_table(run) for run in read],
            bundle=Markup(_bundle()),
            style=Markup(_file("style.css")),
            script=Markup(_file("page.js")),
        )
    )
    draft = Path(output).with_name(f".{Path(output).name}.draft")
    try:
        Path(output).parent.mkdir(parents=True, exist_ok=True)
        draft.write_text(page, encoding="utf-8")
        os.replace(draft, output)
    except OSError as error:
        raise UserError(f"-o {output}: cannot be written: {error.strerror}") from error


def answer(run: Run) -> dict[str, Any]:
    """What the run says, from its headline number alone: each policy's distance from generation 0, worst first."""
    rows = run.rows[run.rows.metric == run.headline]
    last = int(rows.generation.max())
    sign = -1.0 if rows.higher_is_better.iloc[0] else 1.0
    wide = rows.pivot_table(index=["policy", "seed"], columns="generation", values="value", sort=False)
    worse = (sign * (wide[last] - wide[0])).groupby("policy", sort=False)  # paired: the same generation 0
    means = {
        "first": wide[0].groupby("policy", sort=False).mean(),
        "last": wide[last].groupby("policy", sort=False).mean(),
        "worse": worse.mean(),
        "low": worse.min(),
        "high": worse.max(),
    }
    found = pandas.DataFrame(means).sort_values("worse", ascending=False)
    return {
        "metric": run.headline,
        "judged": rows.higher_is_better.notna().any(),
        "unit": rows.unit.iloc[0],
        "floor": rows.floor.mean(),
        "generation": last,
        "seeds": rows.seed.nunique(),
        "policies": found.reset_index().to_dict("records"),
    }


def final_table(run: Run) -> list[dict[str, Any]]:
    """A row per metric: its value at generation 0, at the end under every policy, and its floor."""
    table = charts.over_seeds(run.rows[~run.rows.axis.isin(["mixture", "cost"])])
    last = table.generation.max()
    lines = []
    for metric, found in table.groupby("metric", sort=False):
        about = run.rows[run.rows.metric == metric].iloc[0]
        ends = found[found.generation == last].set_index("policy")["mean"].to_dict()
        first = found[found.generation == 0]["mean"].mean()
        lines.append({"metric": metric, "axis": about.axis, "unit": about.unit, "better": about.higher_is_better,
                      "floor": found.floor.mean(), "first": first, "ends": ends})  # fmt: skip
    return lines


def shared_metrics(runs: Sequence[Run]) -> list[str]:
    """Numbers of fidelity, diversity and tails that two or more runs have, each with a floor that generation 0 differs from."""
    if not 1 < len(runs) <= len(charts.BESIDE) or len({run.name for run in runs}) < len(runs):
        return []
    found = []
    for metric in runs[0].rows.metric.unique():
        own = [run.rows[run.rows.metric == metric] for run in runs]
        if "/" in metric or any(rows.empty or rows.axis.iloc[0] not in SHARED or rows.floor.isna().all() for rows in own):
            continue
        gaps = [abs(rows[rows.generation == 0].value.mean() - rows.floor.mean()) for rows in own]
        if all(gap > 1e-9 for gap in gaps) and set.intersection(*(set(rows.policy) for rows in own)):
            found.append(metric)
    return found


def _any(runs: Sequence[Run], axis: str) -> bool:
    return any((run.rows.axis == axis).any() for run in runs)


def _charts_of(run: Run, axis: str, policies: Sequence[str]) -> list[dict[str, Any]]:
    """A line chart for every number of the axis; numbers that come in families (one a class) share a heat map."""
    found = run.rows[(run.rows.axis == axis) & ~run.rows.metric.str.startswith("trained_")]  # those have a chart of their own
    names = found.metric.unique()
    families = list(dict.fromkeys(name.partition("/")[0] for name in names if "/" in name))
    single = [charts.lines(run.rows, name, policies) for name in names if "/" not in name and not name.endswith("_se")]
    return single + [charts.family(found, family) for family in families]


def _steps(run: Run) -> dict[str, Any]:
    """What a generation trained on, in a line: optimizer steps and units, the same for all policies or a range."""
    cost = run.rows[run.rows.axis == "cost"].groupby("metric", sort=False).value.agg(["min", "max"])
    return {name: (low, high) for name, (low, high) in zip(cost.index, cost.to_numpy().tolist(), strict=True)}


def _samples(run: Run) -> dict[str, Any]:
    """Samples of every policy and generation as HTML, by the show of the run's modality."""
    table = run.samples.table.select(["_policy", "_generation"]).to_pandas()
    try:
        show = find("show", run.modality)
    except UserError:
        return {}
    cells: dict[str, dict[int, Markup]] = {}
    for (policy, generation), rows in table.groupby(["_policy", "_generation"], sort=False):
        cells.setdefault(str(policy), {})[int(generation)] = show(run.samples.take(rows.index.to_numpy()))
    real = cells.pop("", {}).get(REAL)
    return {"real": real, "policies": cells, "last": int(table._generation.max())}


def _provenance(run: Run) -> dict[str, list[str]]:
    """Every library version and machine that made a model of the run; more than one of a kind means the run is mixed."""
    found: dict[str, list[str]] = {}
    for name in run.models[0]:
        if name not in ("policy", "generator", "seed", "generation", "key", "seconds"):
            found[name] = sorted({str(model[name]) for model in run.models})
    return found


def _number(value: float) -> str:
    """Four significant digits, or a dash for no number."""
    return "–" if value is None or value != value else f"{value:.4g}"


def _environment() -> jinja2.Environment:
    loader = jinja2.FileSystemLoader(Path(__file__).parent)
    environment = jinja2.Environment(loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["number"] = _number
    return environment


def _file(name: str) -> str:
    return (Path(__file__).parent / name).read_text(encoding="utf-8")


@cache
def _bundle() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script, so that the report needs no network."""
    import altair
    import vl_convert

    version = "v" + ".".join(altair.SCHEMA_VERSION.lstrip("v").split(".")[:2])
    return vl_convert.javascript_bundle(vl_version=version).replace("</script", "<\\/script")
