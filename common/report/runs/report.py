"""Report of finished runs: one HTML file about one or more run folders. Never imports the code that runs experiments."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...analysis.run_folder import CONFIG, ROWS, SAMPLES, RunFolder
from ...store.run_records import RECORD
from ..charts import RUN_COLOURS, colour
from ..page import publish, render
from . import headlines, metric_charts
from .context import AXES, RunContext

REQUIRED_FILES = (CONFIG, ROWS, RECORD, SAMPLES)


def write_report(runs: Sequence[str | Path], output: str | Path) -> None:
    """Write one self-contained HTML file about one or more run folders, shown side by side.

    Raises UserError if a folder is not a finished run or the file cannot be written.
    """
    contexts = read_runs(runs)
    policies = contexts[0].policies
    by_name = {one.name: one.summaries for one in contexts}
    page = render(
        "runs/page.html",
        runs=contexts,
        colours={policy: colour(policy, policies) for policy in policies},
        first=_first_to_degrade(contexts),
        comparison=headlines.compare_runs(by_name),
        comparison_charts=comparison_charts(contexts),
        run_colours=dict(zip([one.name for one in contexts], RUN_COLOURS, strict=False)),
        axes=[
            (axis, question, [one.charts_of(axis) for one in contexts])
            for axis, question in AXES.items()
            if any(metric.axis == axis for one in contexts for metric in one.run.metrics.values())
        ],
    )
    publish(page, output)


def read_runs(folders: Sequence[str | Path]) -> list[RunContext]:
    """Read run folders. All contexts have the same list of policies, so that each policy has one colour in the report."""
    runs = [RunFolder.read(folder, files=REQUIRED_FILES) for folder in folders]
    policies = list(dict.fromkeys(policy for run in runs for policy in run.policies))
    return [RunContext(run, policies) for run in runs]


def comparison_charts(runs: Sequence[RunContext]) -> list[metric_charts.Chart]:
    """Build a chart for every metric by which the runs can be compared. Empty for one run or for more runs than RUN_COLOURS."""
    by_name = {one.name: one for one in runs}
    if not 1 < len(by_name) <= len(RUN_COLOURS):
        return []
    configs = {name: one.run.config for name, one in by_name.items()}
    return [
        metric_charts.comparison_chart({name: one.run.metrics[metric] for name, one in by_name.items()}, configs)
        for metric in headlines.comparable_metrics({name: one.summaries for name, one in by_name.items()})
    ]


def _first_to_degrade(runs: Sequence[RunContext]) -> dict[str, list[str]]:
    """Return the policy of each run that degrades first, beyond noise. The result maps policies to names of runs."""
    first: dict[str, list[str]] = {}
    for one in runs:
        worst = one.ranking[0]
        if worst.all_beyond_noise:
            first.setdefault(worst.policy, []).append(one.name)
    return first
