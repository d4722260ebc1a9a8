"""Recording of CUDA graphs, with a simulated `torch.cuda`."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from typing import Any

import pytest
import torch

from stampbench.benchmark.errors import UserError
from stampbench.benchmark.measure.cuda_graph import CapturedCall

CUDA = torch.device("cuda:0")


class FakeGraph:
    """Remembers what was recorded; a replay adds one to the output, as kernels write to the same tensor again."""

    replays = 0

    def replay(self) -> None:
        FakeGraph.replays += 1
        FakeCuda.output += 1


class FakeCuda:
    """The parts of `torch.cuda` that recording uses; `log` has the calls in order."""

    log: list[str]
    output: torch.Tensor


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Simulate `torch.cuda`; return the list of what happens."""
    happened: list[str] = []

    @contextmanager
    def recording(name: str) -> Any:
        happened.append(f"{name} begins")
        yield
        happened.append(f"{name} ends")

    class Stream:
        def wait_stream(self, other: object) -> None:
            happened.append("wait")

    for name, value in {
        "device": lambda device: nullcontext(),
        "Stream": Stream,
        "current_stream": Stream,
        "stream": lambda each: recording("side stream"),
        "CUDAGraph": FakeGraph,
        "graph": lambda graph: recording("graph"),
    }.items():
        monkeypatch.setattr(torch.cuda, name, value)
    FakeGraph.replays, FakeCuda.output = 0, torch.zeros(3)
    return happened


def test_call_is_warmed_up_on_a_side_stream_recorded_once_and_replayed(log: list[str]) -> None:
    def call() -> torch.Tensor:
        log.append("call")
        return FakeCuda.output

    captured = CapturedCall(call, CUDA)
    side = ["side stream begins", *["call"] * 3, "side stream ends"]
    assert log == ["wait", *side, "wait", "graph begins", "call", "graph ends"]
    assert [captured() is FakeCuda.output for _ in range(2)] == [True, True]
    assert (FakeGraph.replays, FakeCuda.output.tolist(), log.count("call")) == (2, [2.0] * 3, 4)


def test_recording_keeps_the_tensors_of_the_call_alive(log: list[str]) -> None:
    """The graph has addresses only; memory that PyTorch reuses meanwhile would be read."""

    class Network:
        def __call__(self) -> torch.Tensor:
            return FakeCuda.output

        def __del__(self) -> None:
            log.append("freed")

    captured = CapturedCall(Network(), CUDA)
    assert "freed" not in log
    del captured
    assert log[-1] == "freed"


def test_what_a_graph_cannot_record_is_one_line_that_names_the_nearest_backend(log: list[str]) -> None:
    def call() -> None:
        if "graph begins" in log:
            raise RuntimeError("CUDA error: operation not permitted\nwhen stream is capturing")

    with pytest.raises(
        UserError, match=r"^this network cannot .* not permitted when .*; the nearest backend is 'eager'$"
    ):
        CapturedCall(call, CUDA)
