"""The command line: `autophagy run | report | figures | export | list | demo | claims | reproduce | verify | gc`."""

from __future__ import annotations

import importlib.metadata
import os
import re
import time
from pathlib import Path
from typing import Annotated

import typer
from rich.filesize import decimal
from rich.markup import escape
from rich.table import Table

from ..config.registry import registered
from ..config.schema import Experiment, load_config
from ..core.errors import UserError, did_you_mean
from .console import err_console, out_console, say, told
from .store_commands import Store, gc, verify

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

CONFIGS = Path(__file__).resolve().parents[2] / "configs"
DEMO = (CONFIGS / "demo" / "text.yaml", CONFIGS / "demo" / "vision.yaml")
LISTED = {
    "generators": "generator", "policies": "policy", "curations": "curation", "metrics": "metric", "data": "data", "features": "features",
}  # fmt: skip

Out = Annotated[Path, typer.Option(help="Folder for results: <out>/<name>/{config.yaml, rows.parquet, report.html, ...}.")]
Workers = Annotated[int | None, typer.Option(min=1, help="Worker processes; as many as there are processors if left out.")]
Device = Annotated[str, typer.Option(envvar="AUTOPHAGY_DEVICE", help="auto, cpu, cuda, cuda:1, mps: where models live.")]
Checkpoints = Annotated[
    float, typer.Option(envvar="AUTOPHAGY_CHECKPOINT_SECONDS", min=0, help="Seconds between checkpoints of a fit: what a kill can cost.")
]


def _say_version(asked: bool) -> None:
    if asked:
        say(f"autophagy {importlib.metadata.version('autophagy')}")
        raise typer.Exit


@app.callback()
def autophagy(
    version: Annotated[bool, typer.Option("--version", is_eager=True, callback=_say_version, help="Say which version this is.")] = False,
) -> None:
    """Train generative models on what they made, generation after generation, and see what becomes of them."""


@app.command()
def run(
    what: Annotated[
        list[str], typer.Argument(metavar="CONFIG... [KEY=VALUE...]", help="YAML files, then changes that apply to all of them.")
    ],
    store: Store = Path("runs/store"),
    out: Out = Path("runs"),
    workers: Workers = None,
    device: Device = "auto",
    checkpoint_seconds: Checkpoints = 60.0,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Check everything and print the whole experiment; run nothing.")] = False,
) -> None:
    """Run experiments. The same command again goes on where it stopped, and costs seconds once all is done."""
    with told():
        _set_how(device, checkpoint_seconds)
        changes = [word for word in what if re.match(r"[A-Za-z_][\w.-]*=", word)]
        files = [word for word in what if word not in changes]
        if not files:
            raise UserError("no config was given; `configs/` holds some to start from")
        experiments = [load_config(file, changes) for file in files]
        if dry_run:
            _plan(experiments, store, out, workers)
            return
        _run(experiments, store=store, out=out, workers=workers)


@app.command()
def report(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders that `run` wrote, or the one that `reproduce` wrote.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The HTML file to write.")] = Path("report.html"),
) -> None:
    """Write one self-contained HTML report about one or more runs, side by side, or about re-tested claims."""
    with told():
        from ..report.claims.report import about_claims, write_claims_report
        from ..report.runs.report import write_report

        if about_claims(runs):
            write_claims_report(runs[0] / "claims.json", output)
        else:
            write_report(runs, output)
        say(f"report: {output}")


@app.command()
def figures(
    runs: Annotated[list[Path], typer.Argument(metavar="RUN...", help="Folders that `run` wrote.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The folder to write into.")] = Path("figures"),
    format_: Annotated[list[str], typer.Option("--format", help="pdf, svg, png; may be given several times.")] = ["pdf", "svg", "png"],  # noqa: B006
) -> None:
    """Write the charts of one or more runs as files for a paper."""
    with told():
        from ..report.runs.figures import write_figures

        written = write_figures(runs, output, formats=format_)
        say(f"{len(written)} figures: {output}")


@app.command()
def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A folder that `run` wrote.")],
    to: Annotated[str, typer.Option("--to", help="csv, jsonl, tensorboard, wandb, mlflow or trackio.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="The folder to write to; RUN/export if left out.")] = None,
) -> None:
    """Hand a run's numbers to other tools: one tidy file, or each chain as a run of an experiment tracker."""
    with told():
        from ..analysis.export import export as export_run

        say(f"export: {export_run(run, to, output)}")


@app.command(name="list")
def list_(
    what: Annotated[str | None, typer.Argument(help="generators, policies, curations, metrics, data or features; all if left out.")] = None,
) -> None:
    """What there is to put into a config, built in or installed."""
    with told():
        if what is not None and what not in LISTED:
            raise UserError(f"'{what}' cannot be listed{did_you_mean(what, LISTED)}")
        table = Table(box=None, pad_edge=False)
        for heading in ("kind", "name", "what it is"):
            table.add_column(heading)
        for kind in [LISTED[what]] if what else LISTED.values():
            for name, point in sorted(registered(kind).items()):
                about = (point.load().__doc__ or "").strip().splitlines()
                table.add_row(kind, name, about[0] if about else "")
        out_console.print(table)


@app.command()
def demo(
    changes: Annotated[list[str] | None, typer.Argument(metavar="[KEY=VALUE...]", help="Changes that apply to both experiments.")] = None,
    store: Store = Path("runs/demo/store"),
    out: Out = Path("runs/demo"),
    workers: Workers = None,
    device: Device = "auto",
    checkpoint_seconds: Checkpoints = 60.0,
) -> None:
    """A text and a vision experiment, small but real, and one report that compares them."""
    with told():
        from ..report.runs.report import write_report

        _set_how(device, checkpoint_seconds)
        experiments = [load_config(file, changes or ()) for file in DEMO]
        _run(experiments, store=store, out=out, workers=workers)
        write_report([out / experiment.name for experiment in experiments], out / "report.html")
        say(f"\nreport: {(out / 'report.html').resolve()}")


@app.command()
def claims() -> None:
    """Published claims about model collapse that `reproduce` re-tests."""
    with told():
        from ..replication.claim import claims as known

        table = Table(box=None, pad_edge=False)
        for heading in ("id", "cost", "claim", "source"):
            table.add_column(heading, no_wrap=heading == "id")
        for claim in known().values():
            table.add_row(claim.id, claim.needs or claim.cost, claim.says, claim.source)
        out_console.print(table)


@app.command()
def reproduce(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID...]", help="Claims, as `autophagy claims` lists them.")] = None,
    cost: Annotated[str, typer.Option(help="Without ids: all claims that cost `seconds`, `minutes` too, or `all`.")] = "minutes",
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for claims.json, report.html and each experiment.")] = Path(
        "runs/claims"
    ),
    store: Store = Path("runs/store"),
    workers: Workers = None,
    device: Device = "auto",
    checkpoint_seconds: Checkpoints = 60.0,
) -> None:
    """Re-test published claims and say of each whether it holds here. Goes on where it stopped."""
    with told():
        from ..execution.run import processors
        from ..replication.claim import COSTS, chosen
        from ..replication.reproduce import ClaimResult, measured
        from ..replication.reproduce import reproduce as judge_all
        from ..report.claims.report import write_claims_report
        from .progress import watching

        if cost not in (*COSTS, "all"):
            raise UserError(f"--cost {cost}: seconds, minutes, gpu or all{did_you_mean(cost, (*COSTS, 'all'))}")
        _set_how(device, checkpoint_seconds)

        def tell(judged: ClaimResult) -> None:
            words = " ".join(measured(judged.headline)[:2]) if judged.headline else judged.not_run
            say(f"{judged.claim.id:4} {judged.verdict:12} {words}")

        started = time.monotonic()
        found = judge_all(
            chosen(ids or (), cost), store=store, out=out, workers=workers or processors(),
            watching=lambda total: watching(total, err_console), told=tell,
        )  # fmt: skip
        write_claims_report(out / "claims.json", out / "report.html")
        out_console.print(_verdict_table(found))
        say(f"report: {out / 'report.html'}")
        err_console.print(f"done in {time.monotonic() - started:.0f} s", highlight=False)


def _verdict_table(found: list) -> Table:
    from ..replication.reproduce import measured

    table = Table(box=None, pad_edge=False)
    for heading in ("id", "verdict", "claim", "measured", "expected", "z", "checks"):
        table.add_column(heading, no_wrap=heading in ("id", "verdict"), justify="right" if heading in ("z", "checks") else "left")
    for judged in found:
        colour = {"holds": "green", "fails": "red"}.get(judged.verdict, "yellow")
        cells = measured(judged.headline) if judged.headline else (judged.not_run, "", "")
        checks = str(len(judged.finding.checks)) if judged.finding else ""
        table.add_row(judged.claim.id, f"[{colour}]{judged.verdict}[/]", judged.claim.says, *map(escape, cells), checks)
    return table


def _set_how(device: str, checkpoint_seconds: float) -> None:
    """What workers are told through the environment."""
    if device != "auto":
        import torch

        try:
            torch.empty(0, device=device)
        except (RuntimeError, AssertionError) as error:
            raise UserError(f"--device {device}: {str(error).splitlines()[0]}") from error
    os.environ["AUTOPHAGY_DEVICE"] = device
    os.environ["AUTOPHAGY_CHECKPOINT_SECONDS"] = str(checkpoint_seconds)


def _plan(experiments: list[Experiment], store: Path, out: Path, workers: int | None) -> None:
    """Print what would be run and what that would take; loads the data, so that what is wrong with it shows now."""
    from ..core.resources import free_disk, free_memory
    from ..execution.cost_estimate import plan
    from ..execution.run import chains, check_output_folders, check_unique_names, default_workers
    from ..loop.stages import inputs_of

    check_unique_names(experiments)
    check_output_folders(experiments, out=out, store=store)
    workers = workers or default_workers(experiments)
    for experiment in experiments:
        for member in experiment.members.values():
            inputs_of(member.generator)  # a checkpoint that is not to be had shows now
        would = plan(experiment, store)
        say(experiment.yaml())
        say(f"# arms: {', '.join(experiment.arms)}")
        rows = ", ".join(f"{name} {count}" for name, count in would.rows.items())
        say(f"# {chains(experiment)} chains of {experiment.generations + 1} generations; rows: {rows}")
        metrics = ", ".join(part.use for part in experiment.metrics)
        say(f"# to be made: {would.left} generations (each: fit, sample, measure {metrics}); {would.kept} are in the store")
        if would.seconds is None:
            say(f"# disk: at least {decimal(would.bytes)}; {decimal(free_disk(store))} are free")
            say("# time and memory: not known before there is a generation to judge by; generations=1 seeds=[0] makes some")
        else:
            say(f"# disk: about {decimal(would.bytes)}; {decimal(free_disk(store))} are free")
            say(f"# time: about {_duration(would.seconds)} of one processor, {_duration(would.seconds / workers)} with {workers} workers")
            peak = f"{decimal(would.peak_bytes)} a worker" if would.peak_bytes else "not known"
            say(f"# memory: {peak}; {decimal(free_memory())} are free")


def _duration(seconds: float) -> str:
    for unit, size in (("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def _run(experiments: list[Experiment], *, store: Path, out: Path, workers: int | None) -> None:
    from ..execution.run import chains, default_workers, run
    from ..report.runs.report import write_report
    from .progress import watching

    started = time.monotonic()
    total = sum(chains(experiment) * (experiment.generations + 1) for experiment in experiments)
    with watching(total, err_console) as watch:
        run(*experiments, store=store, out=out, workers=workers or default_workers(experiments), watch=watch)
    for experiment in experiments:
        folder = out / experiment.name
        write_report([folder], folder / "report.html")
        say(f"{experiment.name}: {folder}/rows.parquet, {folder}/report.html")
    err_console.print(f"done in {time.monotonic() - started:.0f} s", highlight=False)


for upkeep in (verify, gc):
    app.command()(told()(upkeep))
