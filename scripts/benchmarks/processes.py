"""Runs the sides of a row in processes of their own, one at a time and in turn: A, B, A, B, ...

So no side sees the memory, the threads or the torch settings of another one, and a process gives its own peak memory.
"""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import ExitStack, contextmanager
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

from .row import Row, Side, SideResult, Task, Timing

CONTEXT = multiprocessing.get_context("forkserver")
"""Processes start from a server without state. It has already imported torch, which would take seconds in each of them."""
CONTEXT.set_forkserver_preload(["torch"])


T = TypeVar("T")


class SideError(Exception):
    """A side cannot be measured. The message gives the reason."""


def compare(row: Row, *, pairs: int, tell: Callable[[str], None]) -> dict[str, SideResult]:
    """Measure a row. Returns the result of each side by name. A side that fails has a result with its problem."""
    with tempfile.TemporaryDirectory(prefix="autophagy-bench-") as name, ExitStack() as stack:
        folder = Path(name)
        try:
            if row.files is not None:
                tell("files")
                in_process(partial(row.files, row.settings, folder))
        except SideError as error:
            return {side: SideResult(problem=str(error)) for side in sides_of(row)}
        tell("preparation")
        started = {side: stack.enter_context(SideProcess(prepare, row.settings, folder)) for side, prepare in sides_of(row).items()}
        return measure_in_turn(started, pairs=row.pairs or pairs, warm_up=row.warm_up, tell=tell)


def sides_of(row: Row) -> dict[str, Side]:
    """Return the sides of a row by name: `ours` first, then the rivals."""
    return {"ours": row.ours, **{rival.name: rival.prepare for rival in row.rivals}}


def measure_in_turn(started: dict[str, SideProcess], *, pairs: int, warm_up: bool, tell: Callable[[str], None]) -> dict[str, SideResult]:
    """Run all sides in turn `pairs` times. A side whose run fails is left out of later rounds."""
    timings: dict[str, list[Timing]] = {side: [] for side in started}
    problems: dict[str, str] = {}
    for side, process in started.items():
        try:
            process.wait_until_prepared()
        except SideError as error:
            problems[side] = str(error)
    for number in range(1 - warm_up, pairs + 1):
        tell(f"run {number} of {pairs}" if number else "warm-up")
        for side, process in started.items():
            if side in problems:
                continue
            try:
                timing = process.run()
            except SideError as error:
                problems[side] = str(error)
                continue
            if number:
                timings[side].append(timing)
    return {
        side: SideResult(problem=problems[side]) if side in problems else SideResult(timings[side], process.peak_memory())
        for side, process in started.items()
    }


class SideProcess:
    """A process that prepares the task of a side and runs it on request. A context manager that ends the process."""

    def __init__(self, prepare: Side, settings: Any, folder: Path):
        self._connection, theirs = CONTEXT.Pipe()
        self._process = CONTEXT.Process(target=serve, args=(theirs, prepare, settings, folder))
        self._process.start()
        theirs.close()

    def __enter__(self) -> SideProcess:
        return self

    def __exit__(self, *exception: object) -> None:
        self._connection.close()  # ends the loop in `serve`
        self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def wait_until_prepared(self) -> None:
        self._answer()

    def run(self) -> Timing:
        """Run the task once. Raises SideError if it fails."""
        self._connection.send("run")
        return self._answer()

    def peak_memory(self) -> int:
        """Return the peak memory of the process in bytes."""
        self._connection.send("memory")
        return self._answer()

    def _answer(self) -> Any:
        try:
            answer = self._connection.recv()
        except EOFError:
            self._process.join()
            raise SideError(f"the process ended with exit code {self._process.exitcode}") from None
        if isinstance(answer, SideError):
            raise answer
        return answer


def serve(connection: Connection, prepare: Side, settings: Any, folder: Path) -> None:
    """Prepare a task, then answer requests until the connection closes."""
    with answered_errors(connection), quiet_output():
        task = prepare(settings, folder)
        connection.send(None)
        while True:
            try:
                request = connection.recv()
            except EOFError:
                return
            connection.send(timed(task) if request == "run" else peak_memory())


def in_process(work: Callable[[], T]) -> T:
    """Return the result of work done in a process of its own. Raises SideError if it fails."""
    with ProcessPoolExecutor(max_workers=1, mp_context=CONTEXT) as pool:
        try:
            return pool.submit(work).result()
        except Exception as error:
            raise SideError(reason(error)) from error


def reason(error: Exception) -> str:
    """Describe an error in one line. An import error names the missing package."""
    if isinstance(error, ImportError):
        return f"{error.name or error} is not installed"
    first_line = (str(error).splitlines() or [""])[0][:200]
    return f"{type(error).__name__}: {first_line}"


@contextmanager
def answered_errors(connection: Connection) -> Iterator[None]:
    """Send the error of a block to the other end of the connection."""
    try:
        yield
    except Exception as error:
        traceback.print_exc()
        connection.send(SideError(reason(error)))


@contextmanager
def quiet_output() -> Iterator[None]:
    """Send what a side prints to standard error, so that standard output has only the table."""
    sys.stdout.flush()
    os.dup2(2, 1)
    yield


def timed(task: Task) -> Timing:
    """Run a task once. Waits for the GPU before the clock stops."""
    started = time.perf_counter()
    result = task.run()
    if (cuda := used_cuda()) is not None:
        cuda.synchronize()
    seconds = time.perf_counter() - started
    return Timing(seconds, float(task.count(result)))  # a count can be a number of numpy, which JSON does not know


def peak_memory() -> int:
    """Return the peak in bytes: of the GPU if this process uses one, else of the largest process among this one and its children."""
    if (cuda := used_cuda()) is not None:
        return cuda.max_memory_allocated()
    return 1024 * max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))


def used_cuda() -> Any:
    """Return `torch.cuda` if this process uses a GPU, else None."""
    torch = sys.modules.get("torch")
    return torch.cuda if torch is not None and torch.cuda.is_initialized() else None
