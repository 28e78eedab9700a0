"""The pretend device has the values of the CPU and the rules of a GPU."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from autophagy import UserError
from autophagy.common.components import pretend_device
from autophagy.common.components.pretend_device import NAME, register, without
from autophagy.common.core.device import device, seeded
from autophagy.common.core.runtime import use_device
from torch import nn

register()  # before any test computes gradients


@pytest.fixture
def numbers():
    """A tensor on the device."""
    return torch.arange(12.0, device=NAME).view(3, 4)


@pytest.mark.parametrize(
    "create",
    [
        lambda: torch.empty(2, device=NAME),
        lambda: torch.tensor([1, 2], device=NAME),
        lambda: torch.as_tensor(np.ones(2), device=NAME),
        lambda: torch.randn(2, device=NAME),
        lambda: torch.randperm(2, device=NAME),
        lambda: torch.zeros(2).to(NAME),
        lambda: torch.zeros_like(torch.ones(2, device=NAME)),
        lambda: torch.ones(2, device=NAME).new_tensor([1.0, 2.0]),
        lambda: nn.Linear(2, 2, device=NAME).weight[0],
        lambda: torch.ones(1, 2, device=NAME).squeeze_(0),
    ],
)
def test_tensors_are_created_on_the_device(create):
    created = create()
    assert created.device == torch.device(NAME, 0) and created.shape == (2,)
    assert created.cpu().device.type == "cpu"


@pytest.mark.parametrize(
    "mix",
    [
        lambda device, host: device + host,
        lambda device, host: torch.cat([device, host]),
        lambda device, host: host @ device.T,
        lambda device, host: host[torch.tensor([0, 2], device=NAME)],
        lambda device, host: nn.functional.embedding(torch.tensor([0, 2]), device),
        lambda device, host: device.gather(1, torch.zeros(3, 1, dtype=torch.int64)),
        lambda device, host: device.index_put_((torch.tensor([0]),), host[:1]),
        lambda device, host: nn.Linear(4, 2).to(NAME)(host),
    ],
)
def test_tensors_of_two_devices_cannot_be_mixed(mix, numbers):
    with pytest.raises(RuntimeError, match=f"expected all tensors to be on the same device, but found tensors of shapes .* on {NAME} and"):
        mix(numbers, torch.ones(3, 4))


def test_host_scalars_and_host_indices_of_device_tensors_are_allowed(numbers):
    assert (numbers + torch.tensor(1.0)).tolist() == (torch.arange(12.0).view(3, 4) + 1).tolist()
    assert numbers[torch.tensor([2, 0])].tolist() == [[8, 9, 10, 11], [0, 1, 2, 3]]
    assert torch.ones(3, 4).copy_(numbers).tolist() == numbers.tolist()


def test_device_tensors_are_not_converted_to_numpy(numbers):
    for convert in (lambda: numbers.numpy(), lambda: np.asarray(numbers)):
        with pytest.raises(TypeError, match=f"can't convert a tensor on {NAME} to numpy; use Tensor.cpu"):
            convert()
    assert numbers.cpu().numpy().sum() == numbers.sum().item() == 66


def test_a_type_can_be_refused(numbers):
    with without(torch.float64), pytest.raises(TypeError, match=f"the device {NAME} does not support torch.float64"):
        numbers.double()
    assert numbers.double().dtype == torch.float64


def test_the_device_has_a_random_state_of_its_own(numbers):
    host = torch.get_rng_state()
    with use_device(NAME):
        with seeded(1):
            first = torch.randn(3, device=NAME)
            on_host = torch.randn(3)
        before = torch.get_device_module(NAME).get_rng_state()
        with seeded(1):
            assert torch.equal(torch.randn(3, device=NAME), first), "drawing on the host did not change the state of the device"
        assert torch.equal(torch.get_device_module(NAME).get_rng_state(), before)
    assert torch.equal(first.cpu(), on_host), "both states have the same seed"
    assert torch.equal(torch.get_rng_state(), host)
    with pytest.raises(RuntimeError, match=f"expected a '{NAME}' device type for generator but found 'cpu'"):
        numbers.normal_(generator=torch.Generator())


def small_network():
    """A network with tied weights and the operations of the models here."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = nn.Sequential(nn.Embedding(5, 8), nn.LayerNorm(8), nn.SiLU(), nn.Linear(8, 5, bias=False))
    network[3].weight = network[0].weight
    return network


def trained(network, where):
    """The state of the optimizer and of the network after three steps."""
    network.to(where)
    assert network[3].weight is network[0].weight
    optimizer = torch.optim.AdamW(network.parameters(), fused=True)
    tokens = torch.arange(5, device=where)
    for _ in range(3):
        nn.functional.cross_entropy(network(tokens), tokens.flip(0)).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
    file = io.BytesIO()
    torch.save({"network": network.state_dict(), "optimizer": optimizer.state_dict()}, file)
    file.seek(0)
    saved = torch.load(file, weights_only=True, map_location="cpu")
    network.load_state_dict(saved["network"])
    optimizer.load_state_dict(saved["optimizer"])
    assert {value.device.type for value in (network[0].weight, optimizer.state[network[0].weight]["exp_avg"])} == {where}
    return saved


def test_training_gives_the_bits_of_the_cpu_and_survives_saving():
    host, on_device = (trained(small_network(), where)["network"] for where in ("cpu", NAME))
    assert {name: value.tolist() for name, value in host.items()} == {name: value.tolist() for name, value in on_device.items()}


def test_autocast_reduces_the_precision_of_products_only(numbers):
    network = small_network().to(NAME)
    with torch.autocast(NAME, dtype=torch.bfloat16):
        product = numbers @ numbers.T
        total = network(torch.tensor([0, 1], device=NAME))
        assert product.dtype == total.dtype == torch.bfloat16
        assert product.softmax(-1).dtype == torch.float32
    total.float().sum().backward()
    assert network[0].weight.grad.dtype == torch.float32
    assert (numbers @ numbers.T).dtype == torch.float32


def test_models_are_placed_on_the_requested_device():
    with pretend_device.pretend_device():
        assert device() == torch.device(NAME)
    assert device() != torch.device(NAME)


def test_registration_after_a_backward_pass_is_an_error(monkeypatch):
    register.cache_clear()

    def backward(*args, **kwargs):
        raise RuntimeError("INTERNAL ASSERT FAILED")

    monkeypatch.setattr(torch.Tensor, "backward", backward)
    with pytest.raises(UserError, match="registered too late, because this process has computed gradients before; call `autophagy"):
        register()
