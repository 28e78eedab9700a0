"""From run folders to one HTML file. Reads rows and samples; never knows how they came about."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas
import yaml
from markupsafe import Markup

from ...analysis import summary
from ...core.errors import UserError
from ...config.registry import find
from ...core.pool import REAL, Pool
from . import headlines as answers
from . import charts
from ..page import publish, render

NEEDED = ("config.yaml", "rows.parquet", "provenance.json", "samples/pool.arrow")
AXES = {
    "likelihood": "How well do models predict real data, and how likely is what they make?",
    "fidelity": "Is what it makes like the real thing?",
    "diversity": "Is what it makes varied?",
    "tail": "What became of the rare?",
    "memorisation": "Does it repeat its training data?",
    "mixture": "How real is what it trains on, and what is kept of what is made?",
}


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
            generated = json.loads((folder / "provenance.json").read_text())
        except (OSError, ValueError, yaml.YAMLError) as error:
            raise UserError(f"{folder}: cannot be read: {error}") from error
        generators = list(rows.generator.unique())
        if len(generators) > 1:  # a line of its own for each generator of a chain
            rows["policy"] = rows.policy + " · " + rows.generator
            named = [" · ".join(pair) if pair[0] else "" for pair in zip(samples.list("_policy"), samples.list("_generator"), strict=True)]
            samples = samples.note(policy=named)
        return cls(str(config["name"]), folder, config, config_text, rows, samples, generated["models"], generated["seconds"], generators)

    @property
    def modality(self) -> str:
        return self.rows.modality.iloc[0]

    @cached_property
    def chains(self) -> pandas.DataFrame:
        return summary.chains(self.rows)

    @cached_property
    def arms(self) -> pandas.DataFrame:
        return summary.policies(self.chains, controls=summary.control(self.rows))

    @property
    def generations(self) -> int:
        return int(self.rows.generation.max())

    @property
    def seeds(self) -> int:
        return self.rows.seed.nunique()


def write_report(runs: Sequence[str | Path], output: str | Path) -> None:
    """Write one self-contained HTML file about one or more run folders, side by side.

    Raises UserError if a folder is not a finished run or the file cannot be written.
    """
    read = [Run.read(Path(folder)) for folder in runs]
    policies = policies_of(read)
    about = [_about(run, policies) for run in read]
    page = render(
        "runs/page.html",
        runs=about,
        colours={policy: charts.colour(policy, policies) for policy in policies},
        first=_first(about),
        sooner=answers.which_sooner({run.name: run.arms for run in read}),
        shared=charts_beside(read),
        run_colours=dict(zip([run.name for run in read], charts.BESIDE, strict=False)),
        axes=[(axis, about, [charts_of_axis(run, axis, policies) for run in read]) for axis, about in AXES.items() if _any(read, axis)],
    )
    publish(page, output)


def _about(run: Run, policies: Sequence[str]) -> dict[str, Any]:
    """All that the page says of one run."""
    fared = answers.by_policy(run.arms)
    last = charts.over_seeds(run.rows[run.rows.generation == run.generations]).set_index(["metric", "policy"])
    return {
        "run": run,
        "name": run.name,
        "policies": list(run.rows.policy.unique()),
        "interval": summary.what_intervals_are(run.seeds),
        "fared": fared,
        "decimals": _decimals(max(abs(policy["worse"]) for policy in fared)),
        "lost": answers.lost_first(run.arms, fared[0]["policy"]),
        "headline": charts.lines(run.rows, answers.headline(run.arms), policies, height=260),
        "verdicts": answers.tally(summary.verdicts(run.chains, generations=run.generations)),
        "mixture": charts.mixture(run.rows),
        "steps": _steps(run),
        "samples": _samples(run),
        "metrics": run.rows[~run.rows.axis.isin(["mixture", "cost"])].drop_duplicates("metric").to_dict("records"),
        "firsts": run.rows[run.rows.generation == 0].groupby("metric").value.mean().to_dict(),
        "floors": run.rows.groupby("metric").floor.mean().to_dict(),
        "ends": last[["mean", "low", "high"]].to_dict("index"),
        "arms": run.arms.to_dict("records"),
        "seconds": {"stages": run.seconds, "total": sum(run.seconds.values())},
        "provenance": _provenance(run),
    }


def _first(about: Sequence[Mapping[str, Any]]) -> dict[str, list[str]]:
    """The policies that go beyond noise first, each with the runs where it does."""
    found: dict[str, list[str]] = {}
    for one in about:
        worst = one["fared"][0]
        if worst["onsets"] == worst["seeds"]:
            found.setdefault(worst["policy"], []).append(one["name"])
    return found


def _any(runs: Sequence[Run], axis: str) -> bool:
    return any((run.rows.axis == axis).any() for run in runs)


def policies_of(runs: Sequence[Run]) -> list[str]:
    """The policies of all runs, in the order in which they come: what colours go by."""
    return list(dict.fromkeys(policy for run in runs for policy in run.rows.policy.unique()))


def charts_beside(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """A chart for every statistic that the runs share; none of one run, or of more than there are colours."""
    arms = {run.name: run.arms for run in runs}
    shared = answers.shared_metrics(arms) if 1 < len(arms) <= len(charts.BESIDE) else []
    return [charts.beside({run.name: run.rows for run in runs}, metric) for metric in shared]


def charts_of_axis(run: Run, axis: str, policies: Sequence[str]) -> list[dict[str, Any]]:
    """A line chart for every number of the axis; numbers that come in families (one a class) share a profile."""
    found = run.rows[(run.rows.axis == axis) & ~run.rows.metric.str.startswith("trained_")]  # those have a chart of their own
    names = found.metric.unique()
    if len(run.generators) == 1:  # then the source of a row says no more than whether it is real
        names = [name for name in names if not name.startswith("source_share/")]
    families = list(dict.fromkeys(name.partition("/")[0] for name in names if "/" in name))
    single = [charts.lines(run.rows, name, policies) for name in names if "/" not in name and not name.endswith("_se")]
    return single + [charts.profile(found, family) for family in families]


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
    return {"real": real, "policies": cells, "generations": sorted({number for found in cells.values() for number in found})}


def _provenance(run: Run) -> dict[str, list[str]]:
    """Every library version and machine that made a model of the run; more than one of a kind means the run is mixed."""
    found: dict[str, list[str]] = {}
    for name in run.models[0]:
        if name not in ("policy", "generator", "seed", "generation", "key", "seconds"):
            found[name] = sorted({str(model[name]) for model in run.models})
    return found


def _decimals(greatest: float) -> int:
    """Decimals that leave the greatest of some numbers two digits or more."""
    return max(0, 1 - math.floor(math.log10(greatest))) if greatest > 0 else 0
