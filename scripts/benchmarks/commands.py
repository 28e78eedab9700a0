"""Rows `demo` and `startup`: wall-clock seconds of commands, including the start of Python."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from .row import Row, Task

GAUSSIAN = Path(__file__).resolve().parents[2] / "configs" / "analytic" / "gaussian.yaml"


@dataclass(frozen=True)
class Command:
    """An `autophagy` command and its expected exit code. `{folder}` in a word stands for the folder of the row."""

    words: Sequence[str]
    exit_code: int = 0

    def run(self, folder: Path, *, output: str = "") -> None:
        """Run the command in a new process. With `output`, its store and its results are in `folder / output`."""
        options = ["--store", str(folder / output / "store"), "--out", str(folder / output / "out")] if output else []
        words = [word.format(folder=folder) for word in self.words] + options
        done = subprocess.run([sys.executable, "-m", "autophagy", *words], capture_output=True, text=True)
        if done.returncode != self.exit_code:
            raise RuntimeError(
                f"autophagy {' '.join(words)}: exit code {done.returncode}, expected {self.exit_code}: {done.stdout}{done.stderr}"
            )


DEMO = Command(["demo"])
RUN_GAUSSIAN = Command(["run", str(GAUSSIAN)])
RUN_TINY = Command(["run", str(GAUSSIAN), "generations=1", "data.replicates=2"])


def run_again(command: Command, folder: Path) -> Task:
    """Repeat a command with the same store."""
    return Task(lambda: command.run(folder, output="same"))


def run_with_empty_store(command: Command, folder: Path) -> Task:
    numbers = itertools.count()
    return Task(lambda: command.run(folder, output=f"new-{next(numbers)}"))


def run_without_store(command: Command, folder: Path) -> Task:
    return Task(lambda: command.run(folder))


def finish(command: Command, folder: Path) -> None:
    command.run(folder, output="same")


def misspell_key(command: Command, folder: Path) -> None:
    (folder / "config.yaml").write_text(GAUSSIAN.read_text().replace("generations:", "genertions:"))


def add_clashing_value(command: Command, folder: Path) -> None:
    """Write a config with valid values that contradict each other: a Gaussian cannot continue prompts."""
    (folder / "config.yaml").write_text(GAUSSIAN.read_text() + "prompts: synthetic\n")


startup = partial(Row, "startup", unit="s", on_request=True)
HELP, RUN_INVALID = Command(["--help"]), Command(["run", "{folder}/config.yaml"], exit_code=2)

ROWS = (
    Row("demo", "empty store", "s", run_with_empty_store, DEMO, RUN_TINY, at_most=180, pairs=1, warm_up=False),
    startup(case="autophagy --help", ours=run_without_store, settings=HELP, tiny=HELP, at_most=0.3),
    startup(case="autophagy list", ours=run_without_store, settings=Command(["list"]), tiny=HELP, at_most=0.6),
    startup(case="autophagy list metrics", ours=run_without_store, settings=Command(["list", "metrics"]), tiny=HELP, at_most=0.6),
    startup(
        case="run, misspelled key", files=misspell_key, ours=run_again, settings=RUN_INVALID, tiny=RUN_INVALID, at_most=1.0
    ),
    startup(
        case="run, values that clash", files=add_clashing_value, ours=run_again, settings=RUN_INVALID, tiny=RUN_INVALID, at_most=1.0
    ),
    startup(
        case="run, finished, 2,000 Gaussian chains", files=finish, ours=run_again, settings=RUN_GAUSSIAN, tiny=RUN_TINY, at_most=3.0
    ),
    startup(case="demo, finished, with its report", files=finish, ours=run_again, settings=DEMO, tiny=RUN_TINY, at_most=6.0),
)  # fmt: skip
