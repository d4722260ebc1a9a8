"""Runs that share a device, and a run that does not fit into its memory; `--device cpu` rehearses the first."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

Command = Callable[..., tuple[int, str, str]]
pytestmark = pytest.mark.gpu
RUN = (
    "run", "--dataset", "phantom2d:size=32,cases=14", "--folds", "0", "--protocol", "quick", "--set", "depth=2",
    "--protocol-set", "max_epochs=2", "--quiet",
)  # fmt: skip


def test_two_runs_share_a_device(stampbench: Command, device: torch.device) -> None:
    code, _, err = stampbench(
        *RUN, "--strategy", "standard,flat", "--set", "f=4", "--jobs", "2", "--threads", "1", "--device", device
    )
    assert code == 0, err
    records = [json.loads(path.read_text()) for path in Path("runs").rglob("run.json")]
    assert [each["environment"]["device"] for each in records] == [str(device)] * 2
    assert {each["spec"]["strategy"] for each in records} == {"standard", "flat"}


@pytest.fixture
def little_memory(device: torch.device) -> Iterator[None]:
    """Let this process use a hundredth of the GPU's memory."""
    if device.type != "cuda":
        pytest.skip("needs the allocator of CUDA")
    torch.cuda.empty_cache()
    torch.cuda.set_per_process_memory_fraction(0.01, device)
    yield
    torch.cuda.set_per_process_memory_fraction(1.0, device)


@pytest.mark.usefixtures("little_memory")
def test_run_that_is_out_of_memory_is_recorded_and_the_others_continue(
    stampbench: Command, device: torch.device, tmp_path: Path
) -> None:
    """Weights, gradients and moments of a network with 512 filters on the first level need 2.4 GB."""
    (tmp_path / "suite.yaml").write_text(
        "strategies:\n"
        "  - {name: standard, set: {f: 512, depth: 2}}\n"
        "  - {name: standard, set: {f: 4, depth: 2}}\n"
        'datasets: ["phantom2d:size=32,cases=14"]\n'
        "folds: [0]\nprotocol: quick\nprotocol_set: {max_epochs: 1}\n"
    )
    code, _, err = stampbench("suite", "run", "suite.yaml", "--device", device, "--quiet")
    assert code == 1
    assert "out of memory" in err
    statuses = {}
    for path in Path("runs").rglob("run.json"):
        record = json.loads(path.read_text())
        statuses[record["spec"]["hyperparameters"]["f"]] = record["status"]
    assert statuses == {512: "failed", 4: "finished"}
