"""Workers: the processes that tasks are done in, how they are started, heard and ended."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from threadpoolctl import threadpool_limits


@dataclass(frozen=True)
class Event:
    """Something to tell whoever watches: what a task is doing, or (`done`) that a generation is finished."""

    experiment: str
    task: str
    what: str
    done: bool = False


ProgressCallback = Callable[[Event], None]

_hears: ProgressCallback = lambda event: None  # noqa: E731


def tell(event: Event) -> None:
    """Tell whoever watches; said in a worker it reaches the parent."""
    _hears(event)


@contextmanager
def one_thread() -> Iterator[None]:
    """Compute with one thread inside, so that the order of sums, and with it every bit, is the same on any machine load."""
    with threadpool_limits(1):
        torch = sys.modules.get("torch")
        before = torch.get_num_threads() if torch else None
        if torch:
            torch.set_num_threads(1)
        try:
            yield
        finally:
            if torch:
                torch.set_num_threads(before)


@contextmanager
def executor(workers: int, watch: ProgressCallback) -> Iterator[Executor]:
    """Does tasks, in this process if there is to be one worker, else in processes of their own; `tell` in a task reaches `watch`."""
    global _hears
    if workers == 1:
        _hears = watch
        yield _Here()
        return
    context = multiprocessing.get_context("spawn")
    events = context.Queue()
    listener = threading.Thread(target=_listen, args=(events, watch), daemon=True)
    listener.start()
    processes = _Workers(workers, mp_context=context, initializer=_start_worker, initargs=(events, os.getpid()))
    try:
        yield processes
        processes.shutdown()
    except BaseException:
        for process in list((processes._processes or {}).values()):
            process.terminate()
        processes.shutdown(wait=False, cancel_futures=True)
        events.cancel_join_thread()  # a worker may have died while it held the queue
        raise
    finally:
        events.put(None)
        listener.join(timeout=5)


class _Workers(ProcessPoolExecutor):
    """Worker processes that do not hear Ctrl-C, not even while they are being loaded: the parent decides."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # what is started now begins with it blocked
        try:
            return super().submit(fn, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


class _Here(Executor):
    """Runs tasks in this process, one after the other."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:
            future.set_exception(error)
        return future


def _listen(events: Any, watch: ProgressCallback) -> None:
    while (event := events.get()) is not None:
        watch(event)


def _start_worker(events: Any, parent: int) -> None:
    """Set up a worker process: its voice, one thread, and an end when its parent has ended, however that came about."""
    global _hears
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _hears = events.put

    def follow() -> None:
        while os.getppid() == parent:
            time.sleep(0.5)
        os._exit(1)

    threading.Thread(target=follow, daemon=True).start()
