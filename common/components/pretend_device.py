"""A pretend accelerator for tests on machines without one: the torch device `pretend`.

Its tensors are computed on the CPU but follow the rules of a GPU. So code that works on `pretend` makes no assumption about the device.
Results equal those on the CPU, up to rounding errors where torch composes an operation of others (attention). The rules:

- An operation on tensors of two devices raises RuntimeError. As on CUDA, three things are allowed: copies, host tensors of 0 dimensions,
  and host tensors as indices of a device tensor.
- `.numpy()` and `numpy.asarray` of a device tensor raise TypeError.
- The device has its own random state, and it refuses random generators of the host.
- Autocast computes products in the reduced precision and reductions in float32, as CUDA does.

The device has no streams, no graphs and no memory limit, and there is only one. This module imports torch, so import it inside functions.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cache, partial
from typing import Any

import torch

from ..core.errors import UserError
from ..core.runtime import use_device

NAME = "pretend"
aten = torch.ops.aten

COPIES = {aten._to_copy.default, aten.copy_.default, aten._foreach_copy_.default}
"""Operations that move values between devices."""
DIRECT = (
    *("copy_", "arange", "arange.start", "arange.start_step", "linspace", "logspace", "eye", "eye.m", "randperm", "randperm.generator"),
    "silu_backward",
)
"""Operations that torch would replace by others that this device cannot follow, or whose values differ from those on the CPU."""
INDEXING = {aten.index.Tensor, aten.index_put.default, aten.index_put_.default, aten._index_put_impl_.default, aten._unsafe_index.Tensor}
"""Operations whose indices may be on the host if the indexed tensor is on the device."""
REDUCED = (
    *("linear", "matmul", "mm", "bmm", "addmm", "baddbmm", "conv1d", "conv2d", "conv_transpose2d.input", "scaled_dot_product_attention"),
    *("addmv", "addbmm", "conv3d", "conv_transpose1d", "mv", "prelu"),
)
"""Operations that autocast computes in the reduced precision."""
FULL = ("exp", "log", "rsqrt", "softmax.int", "log_softmax.int", "layer_norm", "group_norm", "mse_loss", "nll_loss", "cosine_similarity")
"""Operations that autocast computes in float32."""

_refused: set[torch.dtype] = set()
"""Types that the device does not support. See `without`."""


@contextmanager
def pretend_device() -> Iterator[None]:
    """Run a block with the pretend device as the device of this process. Worker processes do not know it."""
    register()
    with use_device(NAME):
        yield


@contextmanager
def without(dtype: torch.dtype) -> Iterator[None]:
    """Let the device refuse this type for a block. MPS, for example, does not support float64."""
    _refused.add(dtype)
    try:
        yield
    finally:
        _refused.discard(dtype)


@cache
def register() -> None:
    """Make the device known to torch, once per process.

    Raises UserError if torch is too old, or if the process has computed gradients before: torch then already knows all devices.
    """
    _register_kernels()
    try:
        torch.ones(1, device=NAME, requires_grad=True).sum().backward()
    except RuntimeError as error:
        raise UserError(
            f"the device {NAME} is registered too late, because this process has computed gradients before; "
            "call `autophagy.common.components.pretend_device.register()` earlier, for example in conftest.py"
        ) from error


@cache
def _register_kernels() -> None:
    """Register the device and its operations. Raises UserError if torch is too old or has another custom backend."""
    try:
        from torch.utils.backend_registration import _setup_privateuseone_for_python_backend as setup
    except ImportError as error:
        raise UserError(f"the pretend device needs torch 2.10 or later, not {torch.__version__}") from error
    try:
        setup(NAME, backend_module=_Module())
    except RuntimeError as error:
        raise UserError(f"the pretend device cannot be registered: {' '.join(str(error).split())}") from error
    fallback = torch.library.Library("_", "IMPL")
    fallback.fallback(_create, "PrivateUse1")
    fallback.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
    direct = torch.library.Library("aten", "IMPL", "PrivateUse1")
    for name in DIRECT:
        direct.impl(_operation(name), partial(_create, _operation(name)))
    autocast = torch.library.Library("aten", "IMPL", "AutocastPrivateUse1")
    for names, dtype in ((REDUCED, None), (FULL, torch.float32)):
        for name in names:
            autocast.impl(_operation(name), _autocast_kernel(_operation(name), dtype))
    _libraries.extend([fallback, direct, autocast])


def _operation(name: str) -> Any:
    """Return the operation `name` or `name.overload` of torch."""
    packet, _, overload = name.partition(".")
    return getattr(getattr(aten, packet), overload or "default")


_libraries: list[torch.library.Library] = []
"""The registered kernels. They exist as long as these objects."""


class _Module:
    """The functions of `torch.pretend`, which torch calls for this device."""

    def __init__(self) -> None:
        self.generator = torch.Generator()

    def is_available(self) -> bool:
        return True

    def is_initialized(self) -> bool:
        return True

    def device_count(self) -> int:
        return 1

    def current_device(self) -> int:
        return 0

    def synchronize(self, device: Any = None) -> None:
        """Do nothing, because every operation is finished when it returns."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed(self, seed: int) -> None:
        self.generator.manual_seed(seed)

    def manual_seed_all(self, seed: int) -> None:
        self.generator.manual_seed(seed)

    def get_rng_state(self, device: Any = None) -> torch.Tensor:
        return self.generator.get_state()

    def set_rng_state(self, state: torch.Tensor, device: Any = None) -> None:
        self.generator.set_state(state)


class PretendTensor(torch.Tensor):
    """A tensor on the pretend device. `host` is a CPU tensor with its values."""

    host: torch.Tensor

    @staticmethod
    def __new__(cls, host: torch.Tensor) -> PretendTensor:
        if host.dtype in _refused:
            raise TypeError(f"the device {NAME} does not support {host.dtype}")
        with torch.inference_mode(host.is_inference()):  # in inference mode, a view of a parameter is an ordinary tensor
            tensor: PretendTensor = torch.Tensor._make_wrapper_subclass(
                cls, host.shape, strides=host.stride(), storage_offset=host.storage_offset(), dtype=host.dtype, device=torch.device(NAME, 0)
            )
        tensor.host = host
        return tensor

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # type: ignore[override]
        return _execute(func, args, kwargs or {})

    def __tensor_flatten__(self) -> tuple[list[str], None]:
        """Mark this class as a wrapper, so that modules exchange their parameters when they move to the device."""
        return ["host"], None

    @staticmethod
    def __tensor_unflatten__(inner: Mapping[str, torch.Tensor], context: None, size: Any, stride: Any) -> PretendTensor:
        return PretendTensor(inner["host"])

    def __repr__(self, *, tensor_contents: Any = None) -> str:  # type: ignore[override]
        return f"{self.host!r} on {NAME}"

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Pickle the values. `torch.load` then returns a host tensor, as with `map_location="cpu"`."""
        return self.host.__reduce_ex__(protocol)

    def tolist(self) -> Any:
        return self.host.tolist()

    def numpy(self, *, force: bool = False) -> Any:
        if not force:
            raise TypeError(f"can't convert a tensor on {NAME} to numpy; use Tensor.cpu() first")
        return self.host.numpy(force=True)

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return self.numpy()

    def data_ptr(self) -> int:
        return self.host.data_ptr()

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.host.untyped_storage()


def _create(func: Any, *args: Any, **kwargs: Any) -> Any:
    """Execute an operation that torch sends to this device without `__torch_dispatch__`, such as `torch.empty(3, device="pretend")`."""
    return _execute(func, args, kwargs)


def _execute(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Check the devices of the arguments, execute an operation on the host, and put its results on the right device."""
    on_device: list[PretendTensor] = []
    on_host: list[torch.Tensor] = []

    def to_host(value: Any) -> Any:
        if isinstance(value, PretendTensor):
            on_device.append(value)
            return value.host
        if isinstance(value, torch.Tensor):
            on_host.append(value)
        return torch.device("cpu") if isinstance(value, torch.device) and value.type == NAME else value

    host_args, host_kwargs = _map(to_host, args), _map(to_host, kwargs)
    _check_devices(func, args, kwargs, on_device, on_host)
    if func is aten.copy_.default:
        stays = isinstance(args[0], PretendTensor)
    else:
        device = kwargs.get("device")
        stays = bool(on_device) if device is None else torch.device(device).type == NAME
    with torch._C._AutoDispatchBelowAutograd(), _device_random_state() if stays and _is_random(func) else nullcontext():
        result = func(*host_args, **host_kwargs)
    if not stays:
        return result
    if _changes_shape(func):
        with torch._C._DisableTorchDispatch():
            func(*args, **kwargs)
    known = {id(value.host): value for value in on_device}  # a tensor that is changed in place stays the same object

    def to_device(value: Any) -> Any:
        if not isinstance(value, torch.Tensor):
            return value
        if id(value) not in known:
            return PretendTensor(value)
        if value.shape != known[id(value)].shape:
            raise NotImplementedError(f"{func} changes the shape of a tensor in place, which the device {NAME} does not support")
        return known[id(value)]

    return _map(to_device, result)


def _check_devices(
    func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], on_device: list[PretendTensor], on_host: list[torch.Tensor]
) -> None:
    """Raise RuntimeError for tensors on two devices, and for a host generator that draws on the device."""
    if on_device and isinstance(generator := kwargs.get("generator"), torch.Generator):
        raise RuntimeError(f"{func}: expected a '{NAME}' device type for generator but found '{generator.device}'")
    if not on_device or not on_host or func in COPIES:
        return
    allowed = {id(index) for index in args[1]} if func in INDEXING and isinstance(args[0], PretendTensor) else set()
    wrong = [list(value.shape) for value in on_host if value.dim() and id(value) not in allowed]
    if wrong:
        shapes = [list(value.shape) for value in on_device]
        raise RuntimeError(
            f"{func}: expected all tensors to be on the same device, but found tensors of shapes {shapes} on {NAME} and {wrong} on cpu"
        )


@cache
def _is_random(func: Any) -> bool:
    """Tell if an operation draws random numbers."""
    return torch.Tag.nondeterministic_seeded in func.tags


@cache
def _changes_shape(func: Any) -> bool:
    """Tell if an operation changes the shape of a tensor in place, such as `squeeze_`."""
    return torch.Tag.inplace_view in func.tags


@contextmanager
def _device_random_state() -> Iterator[None]:
    """Use the random state of the device in place of that of the host for a block."""
    module: Any = torch.get_device_module(NAME)
    before = torch.get_rng_state()
    torch.set_rng_state(module.get_rng_state())
    try:
        yield
    finally:
        module.set_rng_state(torch.get_rng_state())
        torch.set_rng_state(before)


def _autocast_kernel(operation: Any, dtype: torch.dtype | None) -> Callable[..., Any]:
    """Return a function that converts floating point arguments to a type and calls the operation. None: the type of autocast."""
    keys: Any = torch._C.DispatchKey
    below = torch._C.DispatchKeySet(keys.AutocastPrivateUse1)

    def kernel(*args: Any, **kwargs: Any) -> Any:
        target = dtype or torch.get_autocast_dtype(NAME)

        def convert(value: Any) -> Any:
            floats = isinstance(value, torch.Tensor) and value.is_floating_point() and value.dtype != torch.float64
            return value.to(target) if floats else value

        with torch._C._ExcludeDispatchKeyGuard(below):
            return operation(*_map(convert, args), **_map(convert, kwargs))

    return kernel


def _map(function: Callable[[Any], Any], value: Any) -> Any:
    """Apply a function to every value in nested lists, tuples and dictionaries."""
    kind = type(value)
    if kind is tuple or kind is list:
        return kind([_map(function, item) for item in value])
    if kind is dict:
        return {name: _map(function, item) for name, item in value.items()}
    return function(value)
