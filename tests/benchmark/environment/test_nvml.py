"""State of a GPU, read from a simulated NVML."""

from __future__ import annotations

import sys
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from stampbench.benchmark.environment.nvml import Gpu, GpuState, open_gpu, state_reader, unread_warning
from stampbench.benchmark.measure.energy import joules

CUDA = torch.device("cuda:0")


def nvml(bits: int = 0, **changes: Any) -> Any:
    """Return a library with the functions that are read; a function that is None is missing, as in older versions."""
    functions = {
        "nvmlInit": lambda: None,
        "nvmlDeviceGetHandleByUUID": lambda uuid: uuid,
        "nvmlDeviceGetClockInfo": lambda handle, kind: {"sm": 1980}[kind],
        "nvmlDeviceGetTemperature": lambda handle, kind: {"gpu": 41}[kind],
        "nvmlDeviceGetPowerUsage": lambda handle: 350_500,
        "nvmlDeviceGetCurrentClocksEventReasons": lambda handle: bits,
        "nvmlDeviceGetTotalEnergyConsumption": lambda handle: 7_500,
        **changes,
    }
    known = {name: function for name, function in functions.items() if function is not None}
    return SimpleNamespace(NVML_CLOCK_SM="sm", NVML_TEMPERATURE_GPU="gpu", **known)


@pytest.mark.parametrize(
    ("bits", "reasons"),
    [
        (0, ()),
        (0x1 | 0x2 | 0x10 | 0x100, ()),  # idle, clocks set by a user, sync boost, display
        (0x4, ("power cap",)),
        (0x8 | 0x40, ("hardware slowdown", "thermal slowdown by hardware")),
    ],
)
def test_state_has_units_and_only_reasons_that_disturb(bits: int, reasons: tuple[str, ...]) -> None:
    assert Gpu(nvml(bits), "handle").state() == GpuState(1980.0, 41.0, 350.5, reasons)


def test_older_package_and_missing_counters_are_read_as_far_as_they_go() -> None:
    def unsupported(*_: object) -> float:
        raise RuntimeError("Not Supported")

    older = nvml(
        nvmlDeviceGetCurrentClocksEventReasons=None,
        nvmlDeviceGetCurrentClocksThrottleReasons=lambda handle: 0x80,
        nvmlDeviceGetPowerUsage=unsupported,
        nvmlDeviceGetTotalEnergyConsumption=unsupported,
    )
    assert Gpu(older, "handle").state() == GpuState(1980.0, 41.0, None, ("power brake",))
    assert Gpu(older, "handle").joules() is None


@pytest.mark.parametrize(("uuid", "asked"), [("12ab", "GPU-12ab"), ("GPU-12ab", "GPU-12ab"), ("MIG-12ab", "MIG-12ab")])
def test_gpu_is_found_by_its_uuid(uuid: str, asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    handles: list[str] = []
    monkeypatch.setitem(sys.modules, "pynvml", nvml(nvmlDeviceGetHandleByUUID=handles.append))
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: SimpleNamespace(uuid=uuid))
    assert joules(CUDA) == 7.5
    assert handles == [asked]


def test_without_the_package_or_a_gpu_nothing_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert open_gpu(CUDA) is None
    assert joules(CUDA) is None
    assert state_reader(torch.device("cpu"))() is None
    assert unread_warning(torch.device("cpu")) is None
    assert "pip install 'stampbench[gpu]'" in str(unread_warning(CUDA))
