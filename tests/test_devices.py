from types import SimpleNamespace

import psutil
import pytest
import torch

from celltally import devices
from celltally.devices import (
    autocast,
    best_tile,
    free_memory,
    is_out_of_memory,
    resolve_device,
)
from celltally.errors import UserError


@pytest.fixture
def machine(monkeypatch):
    """Pretend to be a machine with these accelerators."""

    def pretend(cuda: int = 0, mps: bool = False):
        monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda > 0)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: cuda)
        monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)

    return pretend


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"), [(0, False, "cpu"), (0, True, "mps"), (2, True, "cuda")]
)
def test_auto_takes_the_best_there_is(machine, cuda, mps, expected):
    machine(cuda, mps)
    assert resolve_device("auto").type == expected


def test_devices_that_are_there(machine):
    machine(cuda=2, mps=True)
    for name in ("cpu", "cpu:0", "cuda", "cuda:1", "mps"):
        assert str(resolve_device(name)) == name


@pytest.mark.parametrize("name", ["cuda", "cuda:0", "mps", "cpu:3"])
def test_devices_that_are_not_there(machine, name):
    machine()
    with pytest.raises(UserError, match=f"no device '{name}'; use 'auto' or 'cpu'"):
        resolve_device(name)


def test_a_gpu_too_many(machine):
    machine(cuda=1)
    with pytest.raises(UserError, match="cuda:1"):
        resolve_device("cuda:1")


@pytest.mark.parametrize("name", ["", "gpu", "CUDA", "cuda:x", "cuda:-1", "meta", "xla", "tpu:0"])
def test_names_that_are_no_device(machine, name):
    machine(cuda=1)
    with pytest.raises(UserError, match="use one of: auto, cpu, cuda, cuda:0, mps"):
        resolve_device(name)


@pytest.mark.parametrize(
    ("free", "side"),
    [(0, devices.SMALLEST_TILE), (1 << 20, devices.SMALLEST_TILE), (1 << 50, devices.LARGEST_TILE)],
)
def test_tiles_have_bounds(monkeypatch, free, side):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free))
    assert best_tile(torch.device("cpu")) == side


def test_tiles_grow_with_the_memory(monkeypatch):
    sides = []
    for free in (1 << 30, 1 << 31):
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device, free=free: (free, free))
        side = best_tile(torch.device("cuda"))
        assert side**2 * devices.BYTES_PER_PIXEL <= free / 4
        sides.append(side)
    assert sides[0] < sides[1]


def test_memory_that_torch_keeps_is_free(monkeypatch):
    """Else an image that was just counted would be too large for the same GPU."""
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 9000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: 700)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda device: 200)
    assert free_memory(torch.device("cuda")) == 1500


@pytest.mark.parametrize("good", [True, False])
def test_autocast_only_where_the_processor_is_good_at_it(monkeypatch, good):
    monkeypatch.setattr(devices, "cpu_is_good_at_bfloat16", lambda: good)
    with autocast(torch.device("cpu")):
        assert torch.is_autocast_enabled("cpu") == good
    assert not torch.is_autocast_enabled("cpu")
    assert isinstance(devices.cpu_is_good_at_bfloat16(), bool)


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), True),
        (
            RuntimeError(
                "[enforce fail at alloc_cpu.cpp:121] DefaultCPUAllocator: not enough memory"
            ),
            True,
        ),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (MemoryError("Unable to allocate 2 TiB"), True),
        (MemoryError(), True),
        (RuntimeError("CUDA error: an illegal memory access was encountered"), False),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
    ids=lambda v: str(v)[:30],
)
def test_out_of_memory_is_told_from_other_errors(error, expected):
    assert is_out_of_memory(error) == expected
