"""Benchmarks of the command line: `python scripts/bench.py startup`.

Each row of a benchmark is a function in a table. To add a row to `startup`, write a function that prepares the files of a command and
returns the command. Then add the function to `STARTUP`.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated

import typer

ROOT = Path(__file__).resolve().parents[1]
GAUSSIAN = ROOT / "configs" / "analytic" / "gaussian.yaml"

app = typer.Typer(pretty_exceptions_enable=False)


@dataclass(frozen=True)
class Workspace:
    """Folders for the files of a row. The user can set `store` to reuse it in later benchmark runs."""

    scratch: Path
    store: Path

    @property
    def options(self) -> list[str]:
        return ["--store", str(self.store), "--out", str(self.scratch / "out")]


@dataclass(frozen=True)
class Command:
    """An `autophagy` command and its expected exit code."""

    words: Sequence[str]
    exit_code: int = 0


@dataclass(frozen=True)
class Row:
    """A row of the table: name, maximum time, and a function that prepares the command."""

    name: str
    target_seconds: float
    prepare: Callable[[Workspace], Command]


@dataclass(frozen=True)
class Measurement:
    """Wall-clock seconds of each run of a row, in the order of the runs."""

    name: str
    target_seconds: float
    seconds: Sequence[float]

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def met(self) -> bool:
        return self.median <= self.target_seconds


# ---- rows ---------------------------------------------------------------------------------------------------------


def show_help(workspace: Workspace) -> Command:
    return Command(["--help"])


def list_components(workspace: Workspace) -> Command:
    return Command(["list"])


def list_metrics(workspace: Workspace) -> Command:
    return Command(["list", "metrics"])


def misspelled_key(workspace: Workspace) -> Command:
    config = workspace.scratch / "misspelled.yaml"
    config.write_text(GAUSSIAN.read_text().replace("generations:", "genertions:"))
    return Command(["run", str(config), *workspace.options], exit_code=2)


def clashing_values(workspace: Workspace) -> Command:
    """Write a config with valid values that contradict each other: a Gaussian cannot continue prompts."""
    config = workspace.scratch / "clashing.yaml"
    config.write_text(GAUSSIAN.read_text() + "prompts: synthetic\n")
    return Command(["run", str(config), *workspace.options], exit_code=2)


def finished_gaussian(workspace: Workspace) -> Command:
    command = Command(["run", str(GAUSSIAN), *workspace.options])
    execute(command)
    return command


def finished_demo(workspace: Workspace) -> Command:
    command = Command(["demo", *workspace.options])
    execute(command)
    return command


STARTUP = (
    Row("autophagy --help", 0.3, show_help),
    Row("autophagy list", 0.6, list_components),
    Row("autophagy list metrics", 0.6, list_metrics),
    Row("run: config with a misspelled key", 1.0, misspelled_key),
    Row("run: config with values that clash", 1.0, clashing_values),
    Row("run: finished, 2,000 Gaussian chains", 3.0, finished_gaussian),
    Row("demo: finished, with its report", 6.0, finished_demo),
)


# ---- measuring ----------------------------------------------------------------------------------------------------


def execute(command: Command) -> float:
    """Run the command in a new process. Returns the wall-clock seconds, including the start of Python."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-m", "autophagy", *command.words], capture_output=True, text=True)
    seconds = time.perf_counter() - started
    if done.returncode != command.exit_code:
        words = " ".join(command.words)
        sys.exit(f"error: autophagy {words}: exit code {done.returncode}, expected {command.exit_code}\n{done.stdout}{done.stderr}")
    return seconds


def measure(row: Row, workspace: Workspace, *, repeats: int) -> Measurement:
    """Time `repeats` runs, after one run that is not counted. The first run fills the page cache and writes bytecode."""
    command = row.prepare(workspace)
    execute(command)
    return Measurement(row.name, row.target_seconds, [execute(command) for _ in range(repeats)])


@app.callback()
def bench() -> None:
    """Benchmarks of autophagy."""


@app.command()
def startup(
    repeats: Annotated[int, typer.Option("-n", "--repeats", min=1, help="Number of timed runs of each command.")] = 5,
    store: Annotated[
        Path | None, typer.Option(help="Store to reuse, so that the demo and the Gaussian run are computed only once.")
    ] = None,
    json_file: Annotated[Path | None, typer.Option("--json", help="Also write all measurements to this file.")] = None,
) -> None:
    """Measure the duration of commands that compute nothing. Exits with code 1 if a median exceeds its target."""
    measurements = []
    print(f"| command | median of {repeats}, s | target, s | |\n|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="autophagy-bench-") as scratch:
        workspace = Workspace(Path(scratch), store or Path(scratch) / "store")
        for row in STARTUP:
            measurements.append(measurement := measure(row, workspace, repeats=repeats))
            verdict = "met" if measurement.met else "missed"
            print(f"| {row.name} | {measurement.median:.2f} | {row.target_seconds:g} | {verdict} |", flush=True)
    if json_file:
        machine = {"machine": platform.machine(), "processors": os.cpu_count(), "python": platform.python_version()}
        rows = [{**asdict(one), "median_seconds": one.median, "met": one.met} for one in measurements]
        json_file.write_text(json.dumps({**machine, "startup": rows}, indent=1) + "\n")
    if not all(one.met for one in measurements):
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
