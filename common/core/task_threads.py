"""Sets the number of threads of numerical libraries. All code uses one thread, except large models.

Small models gain little from several threads. If other processes use the processors, they lose a lot, because their threads wait for each
other after every operation.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch

LARGE_MODEL_PARAMETERS = 10_000_000
"""Models with at least this number of parameters are trained, sampled and scored with several threads."""

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

WAIT_VARIABLE = "OMP_WAIT_POLICY"
"""With `passive`, a waiting thread sleeps. By default it occupies a processor, so a fit is 10 times slower if others use the processor."""

_large_model_threads = 1


@contextmanager
def one_thread(*, large_models: int) -> Iterator[None]:
    """Limit numerical libraries to one thread for a block, and large models to `large_models` threads.

    The number of threads is fixed because it can change the last bits of a sum. Limits loaded libraries directly. Sets environment
    variables for libraries that are imported inside the block.
    """
    from threadpoolctl import threadpool_limits

    global _large_model_threads
    before, _large_model_threads = _large_model_threads, large_models
    torch_threads = _torch_threads()
    variables = {**dict.fromkeys(THREAD_VARIABLES, "1"), WAIT_VARIABLE: os.environ.get(WAIT_VARIABLE, "passive")}
    _set_torch_threads(1)
    try:
        with environment_variables(variables), threadpool_limits(1):
            yield
    finally:
        _large_model_threads = before
        _set_torch_threads(torch_threads or os.cpu_count() or 1)


@contextmanager
def threads_for(module: torch.nn.Module) -> Iterator[None]:
    """Let torch use all threads of the task for a block if the model is large."""
    parameters = sum(weights.numel() for weights in module.parameters())
    before = _torch_threads()
    if before is None or _large_model_threads == 1 or parameters < LARGE_MODEL_PARAMETERS:
        yield
        return
    _set_torch_threads(_large_model_threads)
    try:
        yield
    finally:
        _set_torch_threads(before)


@contextmanager
def environment_variables(values: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for a block."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _torch_threads() -> int | None:
    """Return the number of threads of torch. None if torch has not been imported."""
    torch = sys.modules.get("torch")
    return torch.get_num_threads() if torch else None


def _set_torch_threads(threads: int) -> None:
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(threads)
