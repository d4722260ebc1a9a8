"""What differs by device, as far as a CPU can show it."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from stampbench.benchmark.environment.compute_settings import ComputeSettings, configure_process
from stampbench.benchmark.environment.device import choose_device
from stampbench.benchmark.environment.machine import timing_machine
from stampbench.benchmark.environment.provenance import environment
from stampbench.benchmark.errors import TrainingFailedError, UserError
from stampbench.benchmark.execution.run import Run
from stampbench.benchmark.measure import energy
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.training import fold_data as data
from stampbench.benchmark.training.fold_data import Images
from stampbench.benchmark.training.train_epoch import train_epoch
from stampbench.models.architecture import UNetArchitecture
from stampbench.models.network import build
from stampbench.strategies.stamp import TrainAndPrune

RUN = (
    "run", "--dataset", "phantom2d:size=16,cases=14", "--folds", "0", "--protocol", "quick", "--set", "f=2",
    "--set", "depth=1", "--protocol-set", "max_epochs=2",
)  # fmt: skip


def test_scaled_losses_make_the_same_steps() -> None:
    """In single precision scaling by powers of two is exact, so the scaler's path can be checked without a GPU."""
    torch.manual_seed(0)
    images = Images(torch.randn(6, 1, 16, 16), torch.randint(2, (6, 16, 16), dtype=torch.uint8), torch.arange(6))
    pairs = [(batch.pixels, batch.labels) for batch in images.batches(4)]
    first = build(UNetArchitecture.doubling(2, 1, 2, f=2, depth=1)).train()
    weights = []
    for scaler in (None, torch.amp.GradScaler("cpu")):
        model = copy.deepcopy(first)
        optimiser = torch.optim.Adam(model.parameters())

        def batch_loss(x: Tensor, y: Tensor, model: nn.Module = model) -> Tensor:
            return nn.functional.cross_entropy(model(x), y.long())

        losses = [train_epoch(optimiser, pairs, batch_loss, scaler) for _ in range(3)]
        weights.append([*model.parameters(), torch.tensor(losses)])
    for plain, scaled in zip(*weights, strict=True):
        torch.testing.assert_close(plain, scaled, rtol=1e-5, atol=1e-6)


def test_half_precision_with_scaling_needs_a_gpu(stampbench: Callable[..., Any]) -> None:
    code, _, err = stampbench(*RUN, "--strategy", "standard", "--precision", "fp16")
    assert (code, err.strip()) == (
        2,
        "error: precision 'fp16' needs a GPU; fp32 and bf16 run on the CPU; see --precision",
    )


def test_precision_is_part_of_the_protocol(stampbench: Callable[..., Any]) -> None:
    assert stampbench(*RUN, "--strategy", "standard", "--precision", "bf16")[0] == 0
    (path,) = Path("runs").rglob("run.json")
    record = json.loads(path.read_text())
    assert "precision=bf16" in record["protocol_label"]


@pytest.mark.parametrize("name", ["gpu", "cuda:x", "cpu:0", "mps:1"])
def test_unknown_devices_are_named(name: str) -> None:
    with pytest.raises(UserError, match=f"unknown device '{name}'"):
        choose_device(name)


@pytest.mark.skipif(torch.backends.mps.is_available(), reason="there is an MPS device")
def test_absent_devices_are_named() -> None:
    with pytest.raises(UserError, match="device 'mps' is not available"):
        choose_device("mps")


def test_data_that_would_fill_a_gpu_stays_in_main_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    gpu = torch.device("cuda")
    assert data.fits(500, gpu)
    assert not data.fits(501, gpu)
    assert data.fits(2**30, torch.device("cpu"))
    assert not data.fits(2**30 + 1, torch.device("cpu"))


def test_memory_that_runs_out_fails_one_run_and_says_what_would_fit(
    make_run: Callable[..., Run], perform: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def out_of_memory(self: Any, trainer: Any) -> None:
        trainer.train(1)
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB")

    run, store = make_run("stamp"), RunStore(tmp_path / "runs")
    with monkeypatch.context() as patched:
        patched.setattr(TrainAndPrune, "fit", out_of_memory)
        with pytest.raises(TrainingFailedError, match=r"memory ran out on cpu with batch size 2; .*batch_size=1"):
            perform(run, store)
    assert store.status(run.spec) == "failed"
    record = json.loads((store.folder(run.spec) / "run.json").read_text())
    assert "batch size 2" in record["reason"]
    assert perform(run, store).epochs > 1


def test_flags_are_explicit_and_recorded() -> None:
    try:
        configure_process(ComputeSettings(device="cpu", deterministic=True))
        described = environment(ComputeSettings(device="cpu", deterministic=True))
        assert (described.deterministic, described.cudnn_benchmark, described.tf32) == (True, False, False)
        assert torch.are_deterministic_algorithms_enabled()
    finally:
        configure_process(ComputeSettings(device="cpu"))
    assert not torch.are_deterministic_algorithms_enabled()
    assert timing_machine(torch.device("cpu")).threads == torch.get_num_threads()


def test_energy_is_the_processors_counter_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counter = tmp_path / "energy_uj"
    monkeypatch.setattr(energy, "_RAPL", counter)
    assert energy.joules(torch.device("cpu")) is None
    counter.write_text("2500000\n")
    assert energy.joules(torch.device("cpu")) == 2.5


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_a_gpu_runs_from_command_to_record(stampbench: Callable[..., Any], precision: str) -> None:
    code, _, _ = stampbench(*RUN, "--strategy", "stamp_plus", "--device", "cuda", "--precision", precision)
    assert code == 0
    (path,) = Path("runs").rglob("run.json")
    assert json.loads(path.read_text())["environment"]["device"] == "cuda"


def test_several_runs_at_once_end_like_one_after_the_other(stampbench: Callable[..., Any]) -> None:
    words = (*RUN, "--strategy", "standard,stamp,prune_finetune", "--threads", "1")
    code, out, _ = stampbench(*words, "--runs", "two", "--jobs", "2")
    assert code == 0
    assert out.count("test Dice") == 3
    assert stampbench(*words, "--runs", "one")[0] == 0
    tables = [
        {path.parent.name: (path.parent / "cases.csv").read_text() for path in Path(name).rglob("run.json")}
        for name in ("one", "two")
    ]
    assert len(tables[0]) == 3
    assert tables[0] == tables[1]


def test_a_run_that_fails_leaves_out_what_builds_on_it_and_nothing_else(
    stampbench: Callable[..., Any], tmp_path: Path
) -> None:
    failing = (
        "from stampbench.strategies.base import Parent, Strategy\n"
        "class Broken(Strategy):\n"
        "    def fit(self, trainer):\n"
        "        if hasattr(trainer, 'trajectory'):\n"
        "            raise RuntimeError('broken')\n"
        "        trainer.checkpoint()\n"
        "class Follows(Strategy):\n"
        "    def parents(self):\n"
        "        return {'first': Parent('broken', {})}\n"
        "    def fit(self, trainer):\n"
        "        trainer.adopt('first')\n"
        "        trainer.checkpoint()\n"
    )
    (tmp_path / "plug.py").write_text(failing)
    code, out, err = stampbench(
        *RUN, "--plugin", "plug.py", "--strategy", "follows,standard", "--jobs", "2", "--threads", "1"
    )
    assert code == 1
    assert "RuntimeError: broken" in err
    assert re.search(r"follows.*failed: its parent run \w{12} failed", err)
    assert out.count("test Dice") == 1
