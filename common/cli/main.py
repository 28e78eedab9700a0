"""Defines the command line: `autophagy run | report | figures | export | list | demo | claims | reproduce | verify | gc`.

Each command imports what it needs when it runs, so that `--help` and error messages appear at once.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ..core import runtime
from .console import err_console, out_console, report_errors, say
from .store_commands import Store, gc, verify

if TYPE_CHECKING:
    from rich.table import Table

    from ..config.schema import Experiment
    from ..replication.schema import ClaimResult

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
DEMO = (CONFIGS / "demo" / "text.yaml", CONFIGS / "demo" / "vision.yaml")
LISTED = {
    "generators": "generator",
    "policies": "policy",
    "curations": "curation",
    "metrics": "metric",
    "data": "data",
    "features": "features",
}
"""Arguments of `list`, and the kind of component that each argument selects."""

Out = Annotated[Path, typer.Option(help="Folder for results: <out>/<name>/{config.yaml, rows.parquet, report.html, ...}.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Number of worker processes. Default: one per core, or two per GPU.")]
Device = Annotated[
    str, typer.Option(envvar=runtime.DEVICE_VARIABLE, help="Device for models: auto, cpu, cuda (all GPUs), cuda:1 (only this one) or mps.")
]
Checkpoints = Annotated[
    float,
    typer.Option(envvar=runtime.CHECKPOINT_VARIABLE, min=0, help="Seconds between checkpoints of a fit. A kill loses at most this time."),
]

Compile = Annotated[
    bool,
    typer.Option("--compile", envvar=runtime.COMPILE_VARIABLE, help="Compile models for training. Pays off in long fits on a GPU."),
]


def _print_version(requested: bool) -> None:
    if requested:
        import importlib.metadata

        say(f"autophagy {importlib.metadata.version('autophagy')}")
        raise typer.Exit


@app.callback()
def autophagy(
    version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Print the version and exit.")] = False,
) -> None:
    """Train generative models on their own output, generation after generation, and measure how they change."""


@app.command()
def run(
    words: Annotated[
        list[str], typer.Argument(metavar="CONFIG... [KEY=VALUE...]", help="YAML files, then changes that apply to all of them.")
    ],
    store: Store = Path("runs/store"),
    out: Out = Path("runs"),
    workers: Workers = None,
    device: Device = "auto",
    checkpoint_seconds: Checkpoints = 60.0,
    compile_models: Compile = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Validate, print the complete config and the estimated cost; run nothing.")
    ] = False,
) -> None:
    """Run experiments. The same command continues a stopped run. If all results exist, it takes seconds."""
    with report_errors():
        from ..config.schema import load_config
        from ..core.errors import UserError

        changes = [word for word in words if re.match(r"[A-Za-z_][\w.-]*=", word)]
        files = [word for word in words if word not in changes]
        if not files:
            raise UserError("no config given; see `configs/` for examples")
        experiments = [load_config(file, changes) for file in files]
        _set_runtime(device, checkpoint_seconds, compile_models)
        if dry_run:
            _print_estimate(experiments, store, out, workers)
        else:
            _run(experiments, store=store, out=out, workers=workers)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Output folders of `run`, or the output folder of `reproduce`.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The HTML file to write.")] = Path("report.html"),
) -> None:
    """Write one HTML report about runs or re-tested claims. It compares runs side by side and needs no other file."""
    with report_errors():
        from ..report.claims.report import about_claims, write_claims_report

        if about_claims(runs):
            write_claims_report(runs[0] / "claims.json", output)
        else:
            from ..report.runs.report import write_report

            write_report(runs, output)
        say(f"report: {output}")


@app.command()
def figures(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders that `run` wrote.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write into.")] = Path("figures"),
    format_: Annotated[list[str], typer.Option("--format", help="pdf, svg or png; may be repeated.")] = ["pdf", "svg", "png"],  # noqa: B006
) -> None:
    """Write the charts of one or more runs to image files."""
    with report_errors():
        from ..report.runs.figures import write_figures

        paths = write_figures(runs, output, formats=format_)
        say(f"{len(paths)} figures: {output}")


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder that `run` wrote.")],
    to: Annotated[str, typer.Option("--to", help="csv, jsonl, tensorboard, wandb, mlflow or trackio.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The folder to write to. Default: RUN/export.")] = None,
) -> None:
    """Export the numbers of a run to a file or a tracker. An experiment tracker gets one run per chain."""
    with report_errors():
        from ..analysis.export import export as export_run

        say(f"export: {export_run(run, to, output)}")


@app.command(name="list")
def list_(
    kind: Annotated[str | None, typer.Argument(help="generators, policies, curations, metrics, data or features. Default: all.")] = None,
) -> None:
    """List the components that a config can name. Includes installed plug-ins."""
    with report_errors():
        from ..config.registry import description, registered
        from ..core.errors import UserError, did_you_mean

        if kind is not None and kind not in LISTED:
            raise UserError(f"'{kind}' is not a kind of component{did_you_mean(kind, LISTED)}")
        table = _table("kind", "name", "description")
        for listed in [LISTED[kind]] if kind else LISTED.values():
            for name, point in sorted(registered(listed).items()):
                table.add_row(listed, name, description(point))
        out_console().print(table)


@app.command()
def demo(
    changes: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE...]", help="Changes that apply to both experiments.")] = None,
    store: Store = Path("runs/demo/store"),
    out: Out = Path("runs/demo"),
    workers: Workers = None,
    device: Device = "auto",
    checkpoint_seconds: Checkpoints = 60.0,
    compile_models: Compile = False,
) -> None:
    """Run a small text and a small vision experiment. Writes one report that compares them."""
    with report_errors():
        from ..config.schema import load_config

        experiments = [load_config(file, changes or ()) for file in DEMO]
        _set_runtime(device, checkpoint_seconds, compile_models)
        _run(experiments, store=store, out=out, workers=workers)
        from ..report.runs.report import write_report

        write_report([out / experiment.name for experiment in experiments], out / "report.html")
        say(f"\nreport: {(out / 'report.html').resolve()}")


@app.command()
def claims() -> None:
    """List the published claims that `reproduce` re-tests."""
    with report_errors():
        from ..replication.claim import claims as all_claims

        table = _table("id", "cost", "claim", "source")
        for claim in all_claims().values():
            table.add_row(claim.id, claim.needs or claim.cost, claim.statement, claim.source)
        out_console().print(table)


@app.command()
def reproduce(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID...]", help="Ids of claims. `autophagy claims` lists them.")] = None,
    cost: Annotated[str, typer.Option(help="Without ids: claims that cost at most `seconds`, `minutes` or `gpu`; or `all`.")] = "minutes",
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for claims.json, report.html and each experiment.")] = Path(
        "runs/claims"
    ),
    store: Store = Path("runs/store"),
    workers: Workers = None,
    device: Device = "auto",
    checkpoint_seconds: Checkpoints = 60.0,
    compile_models: Compile = False,
) -> None:
    """Re-test published claims and report which of them hold. The same command continues a stopped run."""
    with report_errors():
        from ..core.errors import UserError, did_you_mean
        from ..replication.claim import COSTS, select_claims
        from ..replication.reproduce import describe
        from ..replication.reproduce import reproduce as reproduce_claims
        from ..report.claims.report import write_claims_report
        from .progress import progress_display

        if cost not in (*COSTS, "all"):
            raise UserError(f"--cost {cost}: must be seconds, minutes, gpu or all{did_you_mean(cost, (*COSTS, 'all'))}")
        _set_runtime(device, checkpoint_seconds, compile_models)

        def print_result(result: ClaimResult) -> None:
            text = " ".join(describe(result.headline)[:2]) if result.headline else result.not_run
            say(f"{result.id:4} {result.verdict:12} {text}")

        started = time.monotonic()
        results = reproduce_claims(
            select_claims(ids or (), cost), store=store, out=out, workers=workers,
            progress=lambda total: progress_display(total, err_console()), on_result=print_result,
        )  # fmt: skip
        write_claims_report(out / "claims.json", out / "report.html")
        out_console().print(_verdict_table(results))
        say(f"report: {out / 'report.html'}")
        err_console().print(f"done in {time.monotonic() - started:.0f} s", highlight=False)


def _table(*headings: str) -> Table:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for heading in headings:
        table.add_column(heading, no_wrap=heading in ("id", "verdict"), justify="right" if heading in ("z", "checks") else "left")
    return table


def _verdict_table(results: Sequence[ClaimResult]) -> Table:
    from rich.markup import escape

    from ..replication.reproduce import describe

    table = _table("id", "verdict", "claim", "measured", "expected", "z", "checks")
    for result in results:
        colour = {"holds": "green", "fails": "red"}.get(result.verdict, "yellow")
        cells = describe(result.headline) if result.headline else (result.not_run, "", "")
        checks = str(len(result.checks) or "")
        table.add_row(result.id, f"[{colour}]{result.verdict}[/]", result.statement, *map(escape, cells), checks)
    return table


def _set_runtime(device: str, checkpoint_seconds: float, compile_models: bool) -> None:
    """Check the device. Pass the options to the workers through environment variables."""
    from ..execution.placement import check_device

    check_device(device)
    runtime.configure(device=device, checkpoint_seconds=checkpoint_seconds, compile_models=compile_models)


def _print_estimate(experiments: Sequence[Experiment], store: Path, out: Path, workers: int | None) -> None:
    """Print the complete configs and their estimated costs. Loads the data, so that errors in it appear now."""
    from rich.filesize import decimal

    from ..core.resources import free_disk, free_memory
    from ..execution.cost_estimate import estimate_cost
    from ..execution.placement import place
    from ..execution.run import check_output_folders, check_unique_names
    from ..loop.stages import inputs_of

    check_unique_names(experiments)
    check_output_folders(experiments, out=out, store=store)
    workers = place(experiments, workers=workers).workers
    for experiment in experiments:
        for member in experiment.members.values():
            inputs_of(member.generator)  # raises if pretrained weights are not available
        estimate = estimate_cost(experiment, store)
        say(experiment.yaml())
        say(f"# arms: {', '.join(experiment.arms)}")
        rows = ", ".join(f"{name} {count}" for name, count in estimate.rows.items())
        say(f"# {experiment.chains} chains of {experiment.generations + 1} generations; rows: {rows}")
        metrics = ", ".join(spec.use for spec in experiment.metrics)
        say(f"# to build: {estimate.missing} generations (each: fit, sample, measure {metrics}); {estimate.finished} are in the store")
        if estimate.seconds is None:
            say(f"# disk: at least {decimal(estimate.bytes)}; {decimal(free_disk(store))} are free")
            say("# time and memory: unknown until the store has a generation; `generations=1 seeds=[0]` builds one")
        else:
            seconds = estimate.seconds
            say(f"# disk: about {decimal(estimate.bytes)}; {decimal(free_disk(store))} are free")
            say(f"# time: about {_duration(seconds)} on one processor, {_duration(seconds / workers)} with {workers} workers")
            peak = f"{decimal(estimate.peak_bytes)} per worker" if estimate.peak_bytes else "unknown"
            say(f"# memory: {peak}; {decimal(free_memory())} are free")


def _duration(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def _run(experiments: Sequence[Experiment], *, store: Path, out: Path, workers: int | None) -> None:
    from ..execution.run import execute
    from .progress import progress_display

    started = time.monotonic()
    total = sum(experiment.chains * (experiment.generations + 1) for experiment in experiments)
    with progress_display(total, err_console()) as progress:
        execute(experiments, store=store, out=out, workers=workers, progress=progress)
    from ..report.runs.report import write_report

    for experiment in experiments:
        folder = out / experiment.name
        write_report([folder], folder / "report.html")
        say(f"{experiment.name}: {folder}/rows.parquet, {folder}/report.html")
    err_console().print(f"done in {time.monotonic() - started:.0f} s", highlight=False)


for command in (verify, gc):
    app.command()(report_errors()(command))
