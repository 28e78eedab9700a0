"""The device and the precision of all torch code. This is the only module that decides either of them.

Everything else creates tensors on `device()`, or works on tensors where they are. The device belongs to the machine, so it is part of
no cache key. The precision changes results, so it is a setting of `Training` and part of the key.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Literal

from .runtime import compile_requested, requested_device

if TYPE_CHECKING:
    import torch

Precision = Literal["float32", "tf32", "bfloat16"]
"""Precision of matrix products and convolutions. Weights and optimizer state are float32 in all three."""


def device() -> torch.device:
    """Return the device for models: the requested device or, with `auto`, a GPU if available, else the CPU."""
    import torch

    requested = requested_device()
    if requested != "auto":
        return torch.device(requested)
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def widest_float(where: torch.device) -> torch.dtype:
    """Return the dtype for long sums on a device: float64, or float32 on MPS, which has no float64."""
    import torch

    return torch.float32 if where.type == "mps" else torch.float64


@contextmanager
def compute_in(precision: Precision) -> Iterator[None]:
    """Run matrix products and convolutions in this precision for a block. Weights, optimizer state and losses stay in float32.

    float32: full precision, also on GPUs whose convolutions would use TF32 by default. tf32: inputs of products are rounded to 10
    bits of mantissa where the hardware has TF32 (NVIDIA Ampere and later), else as float32. bfloat16: torch's autocast.
    """
    import torch

    products, convolutions = torch.backends.cuda.matmul, torch.backends.cudnn
    before = products.allow_tf32, convolutions.allow_tf32
    products.allow_tf32 = convolutions.allow_tf32 = precision == "tf32"
    try:
        with torch.autocast(device().type, dtype=torch.bfloat16) if precision == "bfloat16" else nullcontext():
            yield
    finally:
        products.allow_tf32, convolutions.allow_tf32 = before


@contextmanager
def compiled(module: torch.nn.Module) -> Iterator[None]:
    """Compile the forward and backward pass of a module for a block, if the user asks for it (see `runtime`).

    Compilation takes up to a minute per shape of the input, and pays off in long fits on a GPU. It changes results by rounding only.
    """
    if not compile_requested():
        yield
        return
    module.compile()
    try:
        yield
    finally:
        module._compiled_call_impl = None


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the random state of torch for a block, on the CPU and on the device. The previous states are restored afterwards."""
    import torch

    kind = device().type
    devices = range(0 if kind == "cpu" else torch.get_device_module(kind).device_count())
    with torch.random.fork_rng(devices=devices, device_type=kind):
        set_random_state(seed)
        yield


def set_random_state(seed: int) -> None:
    """Seed torch like `torch.manual_seed`, which is slow on machines without a GPU because each call stores a stack trace."""
    import torch

    torch.default_generator.manual_seed(seed)
    if (kind := device().type) != "cpu":
        module = torch.get_device_module(kind)
        getattr(module, "manual_seed_all", module.manual_seed)(seed)  # MPS has one device and no `manual_seed_all`
