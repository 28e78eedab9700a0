"""GPUs are shared round robin, the user's choice of GPUs is respected, and threads depend on configs and machine only."""

from __future__ import annotations

import os
import sys
from collections import Counter
from types import SimpleNamespace

import pytest
from autophagy import UserError, experiment
from autophagy.common.core import provenance
from autophagy.common.core.runtime import DEVICE_VARIABLE, use_device
from autophagy.common.execution import placement
from autophagy.common.execution.placement import (
    THREADS_VARIABLE,
    VISIBLE_GPUS_VARIABLE,
    WORKERS_PER_GPU,
    check_device,
    gpus_for,
    place,
    visible_gpus,
    worker_environment,
)
from autophagy.common.execution.workers import executor, ignore_progress
from support.tiny import ANALYTIC
from support.worker_process import environment_at_start

UUIDS = ["GPU-8932f937-d72c-4106-c12f-20bd9faed9f6", "GPU-1a2b3c4d-0000-0000-0000-000000000000"]
MIGS = [f"MIG-{uuid}/1/0" for uuid in UUIDS]


@pytest.fixture
def machine(monkeypatch):
    """Function that pretends a machine: its cores, its GPUs as torch counts them, and the GPUs that the user chose."""
    monkeypatch.delenv(THREADS_VARIABLE, raising=False)

    def pretend(*, cores=8, gpus=0, chosen=None):
        import torch

        monkeypatch.setattr(placement, "processors", lambda: cores)
        monkeypatch.setattr(placement, "_has_gpu_driver", lambda: gpus > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
        if chosen is None:
            monkeypatch.delenv(VISIBLE_GPUS_VARIABLE, raising=False)
        else:
            monkeypatch.setenv(VISIBLE_GPUS_VARIABLE, chosen)

    return pretend


# ---- which GPUs there are ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counted", "chosen", "expected"),
    [
        (0, None, []),
        (3, None, ["0", "1", "2"]),
        (2, "5, 3", ["5", "3"]),
        (2, ",".join(UUIDS), UUIDS),
        (1, ",".join(MIGS), MIGS),
        (1, "0,99", ["0"]),
        (1, "2,-1,3", ["2"]),
        (8, "", []),
        (8, "-1", []),
    ],
    ids=["none", "all", "indices", "UUIDs", "MIG names", "one is missing", "ends at -1", "empty", "-1"],
)
def test_gpus_are_those_that_cuda_would_show(counted, chosen, expected, machine):
    machine(gpus=counted, chosen=chosen)
    assert visible_gpus() == expected


def test_counting_on_a_machine_without_a_gpu_driver_does_not_import_torch(machine, monkeypatch):
    machine(gpus=0)
    monkeypatch.setitem(sys.modules, "torch", None)  # an import would raise ImportError
    assert visible_gpus() == []
    check_device("auto"), check_device("cpu")


@pytest.mark.parametrize(
    ("device", "expected"),
    [("auto", ["4", "7"]), ("cuda", ["4", "7"]), ("cuda:0", ["4"]), ("cuda:1", ["7"]), ("cpu", []), ("mps", [])],
)
def test_device_setting_selects_gpus(device, expected):
    assert gpus_for(device, ["4", "7"]) == expected


@pytest.mark.parametrize(
    ("device", "gpus", "chosen", "message"),
    [
        ("cuda", 0, None, "--device cuda: torch finds no GPU on this machine; use --device cpu"),
        ("cuda:0", 8, "", "--device cuda:0: torch finds no GPU on this machine (CUDA_VISIBLE_DEVICES is ''); use --device cpu"),
        ("cuda:1", 1, None, "--device cuda:1: there is no such GPU; the only one is cuda:0"),
        ("cuda:3", 2, None, "--device cuda:3: there is no such GPU; there are cuda:0, cuda:1"),
        ("cuda:x", 2, None, "--device cuda:x: must be auto, cpu, cuda, cuda:1 or mps; did you mean 'cuda'?"),
        ("", 0, None, "--device : must be auto, cpu, cuda, cuda:1 or mps; known: auto, cpu, cuda, mps"),
        ("cudda", 0, None, "did you mean 'cuda'?"),
    ],
)
def test_device_that_does_not_exist_is_rejected_with_the_existing_ones(device, gpus, chosen, message, machine):
    machine(gpus=gpus, chosen=chosen)
    with pytest.raises(UserError) as error:
        check_device(device)
    assert message in str(error.value)
    with use_device(device), pytest.raises(UserError) as error:
        place([experiment(ANALYTIC)], workers=1)
    assert message in str(error.value), "also if a script sets the device by its environment variable"


# ---- which worker uses which GPU --------------------------------------------------------------------------------------


@pytest.mark.parametrize("gpus", [1, 2, 8])
@pytest.mark.parametrize("workers", range(1, 17))
def test_workers_share_gpus_evenly(gpus, workers):
    names = [str(index) for index in range(gpus)]
    given = [worker_environment("auto", names, worker)[VISIBLE_GPUS_VARIABLE] for worker in range(workers)]
    assert set(given) == set(names[:workers]), "no GPU is idle while two workers share another one"
    counts = Counter(given).values()
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("device", ["auto", "cuda"])
def test_worker_without_gpus_keeps_its_environment(device):
    assert worker_environment(device, [], 3) == {}


def test_worker_knows_its_only_gpu_by_the_first_number(machine):
    machine(gpus=4, chosen="6,5,4,3")
    with use_device("cuda:1"):
        placed = place([experiment(ANALYTIC)], workers=3)
    assert [placed.environment(worker) for worker in range(3)] == [{VISIBLE_GPUS_VARIABLE: "5", DEVICE_VARIABLE: "cuda"}] * 3


def test_processes_start_with_their_gpu(monkeypatch):
    """Three workers for two GPUs. The environment of this process stays the same."""
    monkeypatch.delenv(VISIBLE_GPUS_VARIABLE, raising=False)
    before = dict(os.environ)
    with executor(3, ignore_progress, lambda worker: worker_environment("auto", ["3", UUIDS[0]], worker)) as pool:
        found = {process: (gpu, has_torch) for process, gpu, has_torch in pool.map(environment_at_start, [VISIBLE_GPUS_VARIABLE] * 6)}
        assert dict(os.environ) == before
        assert set(found) <= set(pool._processes) and len(pool._processes) == 3
        started = dict(zip(pool._processes, ["3", UUIDS[0], "3"], strict=True))
    assert all((started[process], False) == given for process, given in found.items())


# ---- number of workers and threads ------------------------------------------------------------------------------------


def grid(seeds, name="grid"):
    """An experiment with three policies."""
    return experiment({**ANALYTIC, "name": name, "seeds": list(range(seeds))})


@pytest.mark.parametrize(
    ("cores", "gpus", "seeds", "expected"),
    [(8, 0, 4, 8), (8, 0, 1, 3), (8, 1, 4, WORKERS_PER_GPU), (64, 8, 10, 8 * WORKERS_PER_GPU), (4, 8, 4, 4), (16, 8, 1, 3)],
)
def test_default_number_of_workers(cores, gpus, seeds, expected, machine):
    machine(cores=cores, gpus=gpus)
    assert place([grid(seeds)], workers=None).workers == expected
    assert place([grid(seeds)], workers=5).workers == 5


def test_threads_on_the_cpu_depend_on_configs_and_cores_only(machine):
    machine(cores=16)
    for workers in (None, 1, 2, 16):
        assert place([grid(2)], workers=workers).threads == {"prepare": 16, "generation 0": 8, "chain": 2}
    assert place([grid(2), grid(1, "other")], workers=4).threads == {"prepare": 8, "generation 0": 5, "chain": 1}
    machine(cores=1)
    assert set(place([grid(2)], workers=8).threads.values()) == {1}


@pytest.mark.parametrize("cores", [1, 2, 3, 7, 16])
def test_concurrent_tasks_of_a_kind_use_no_more_threads_than_there_are_cores(cores, machine):
    machine(cores=cores)
    for experiments in ([grid(1)], [grid(5)], [grid(1), grid(3, "other")]):
        threads, seeds = place(experiments, workers=cores).threads, sum(len(one.seeds) for one in experiments)
        for kind, tasks in {"prepare": len(experiments), "generation 0": seeds, "chain": 3 * seeds}.items():
            assert min(cores, tasks) * threads[kind] <= cores


def test_workers_share_the_cores_if_the_work_is_on_gpus(machine):
    machine(cores=16, gpus=2)
    assert set(place([grid(2)], workers=None).threads.values()) == {4}
    assert set(place([grid(2)], workers=1).threads.values()) == {16}


@pytest.mark.parametrize(("value", "expected"), [("3", 3), ("4,2", 4), ("64", 16), ("", 16)])
def test_users_limit_the_threads(value, expected, machine, monkeypatch):
    machine(cores=16)
    monkeypatch.setenv(THREADS_VARIABLE, value)
    assert place([grid(1)], workers=1).threads["prepare"] == expected


@pytest.mark.parametrize("value", ["many", "0", "-2"])
def test_invalid_limit_of_threads_is_rejected(value, machine, monkeypatch):
    machine(cores=16)
    monkeypatch.setenv(THREADS_VARIABLE, value)
    with pytest.raises(UserError, match=f"OMP_NUM_THREADS: must be a number of threads >= 1, not '{value}'"):
        place([grid(1)], workers=1)


# ---- provenance -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("in_use", "expected"), [(True, "cuda (NVIDIA H100)"), (False, "cuda")])
def test_provenance_names_a_gpu_only_if_it_is_in_use(in_use, expected, monkeypatch):
    cuda = SimpleNamespace(is_available=lambda: True, is_initialized=lambda: in_use, get_device_name=lambda device: "NVIDIA H100")
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    with use_device("auto"):
        assert provenance.provenance()["device"] == expected
