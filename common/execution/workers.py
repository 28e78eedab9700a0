"""Starts and stops worker processes and forwards their progress events."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..core.task_threads import environment_variables


@dataclass(frozen=True)
class Event:
    """A progress event: the current activity of a task or, with `done`, the end of a generation."""

    experiment: str
    task: str
    activity: str
    done: bool = False


ProgressCallback = Callable[[Event], None]


def ignore_progress(event: Event) -> None:
    """A progress callback that does nothing."""


_listener: ProgressCallback = ignore_progress


def emit(event: Event) -> None:
    """Send an event to the progress callback. A worker process sends it to the parent process."""
    _listener(event)


WorkerEnvironment = Callable[[int], Mapping[str, str]]


def no_environment(worker: int) -> Mapping[str, str]:
    """Give a worker no variables of its own."""
    return {}


@contextmanager
def executor(workers: int, progress: ProgressCallback, environment: WorkerEnvironment = no_environment) -> Iterator[Executor]:
    """Yield an executor that runs tasks in this process if `workers` is 1, else in worker processes. Events go to `progress`.

    environment: function from the number of a worker process (0 for the first) to the environment variables that the process gets.
    """
    global _listener
    if workers == 1:
        _listener = progress
        yield _SerialExecutor()
        return
    context = multiprocessing.get_context("spawn")
    events = context.Queue()
    forwarder = threading.Thread(target=_forward, args=(events, progress), daemon=True)
    forwarder.start()
    pool = _WorkerPool(workers, mp_context=context, initializer=_start_worker, initargs=(events, os.getpid()))
    pool.environment = environment
    try:
        yield pool
        pool.shutdown()
    except BaseException:
        for process in list((pool._processes or {}).values()):
            process.terminate()
        pool.shutdown(cancel_futures=True)  # wait for its thread now; at exit, its pipe is closed
        events.cancel_join_thread()  # a worker may have died while it held the queue's lock
        raise
    finally:
        events.put(None)
        forwarder.join(timeout=5)


class _WorkerPool(ProcessPoolExecutor):
    """A process pool whose workers ignore Ctrl-C from their start. The parent process decides when they stop.

    A worker gets its environment variables when its process starts, so they are set before it imports any library.
    """

    environment: WorkerEnvironment

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # a new process inherits the mask and the variables
        try:
            with environment_variables(self.environment(len(self._processes or {}))):
                return super().submit(fn, *args, **kwargs)  # starts at most one process
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


class _SerialExecutor(Executor):
    """An executor that runs each task in this process during `submit`."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def _forward(events: Any, progress: ProgressCallback) -> None:
    while (event := events.get()) is not None:
        progress(event)


def _start_worker(events: Any, parent: int) -> None:
    """Initialise a worker process: send events to the queue of the parent process, and exit when the parent dies."""
    global _listener
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _listener = events.put

    def watch_parent() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=watch_parent, daemon=True).start()
