"""Speed on a GPU against goals; `--device cpu` rehearses it in miniature."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import torch

from stampbench.benchmark.training.losses import make_loss
from stampbench.models.architecture import Filter, UNetArchitecture
from stampbench.models.model import build

pytestmark = pytest.mark.gpu
CLASSES = 3
PRECISIONS = {"fp32": None, "tf32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
LAYOUTS = {"channels-first": torch.contiguous_format, "channels-last": torch.channels_last_3d}


class Scale(NamedTuple):
    """Sizes of what is measured.

    Attributes:
        size: spatial size of a volume.
        batch: volumes per step.
        images: volumes per epoch.
        depth: levels of the U-Net.
        steps: steps that are timed together.
        rounds: rounds of interleaved timing.
        processes: runs that share the device.
        run: options of the whole run.
    """

    size: tuple[int, int, int]
    batch: int
    images: int
    depth: int
    steps: int
    rounds: int
    processes: int
    run: tuple[str, ...]


FULL = Scale((48, 64, 48), 16, 32, 4, 5, 5, 8, ("--dataset", "hippocampus", "--n-train", "25"))
MINIATURE = Scale((16, 16, 16), 2, 4, 1, 1, 1, 2, (
    "--dataset", "phantom3d:size=16,cases=14", "--protocol-set", "max_epochs=1", "--set", "f=2", "--set", "depth=1",
    "--set", "filters_per_step=8", "--set", "recovery_epochs=1",
))  # fmt: skip


@pytest.fixture
def scale(device: torch.device) -> Scale:
    """Sizes for the device; a rehearsal takes one thread, because its machine may be busy with other tests."""
    if device.type == "cpu":
        torch.set_num_threads(1)
    return MINIATURE if device.type == "cpu" else FULL


def helper(name: str) -> ModuleType:
    """Return a module of this folder that is not one of tests."""
    spec = util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def settings_of(scale: Scale, device: torch.device, kernels: str = "fast") -> dict[str, Any]:
    """Return the settings of a process of `run_worker.py`."""
    shared = {"size": scale.size, "batch": scale.batch, "images": scale.images, "depth": scale.depth, "f": 4}
    return shared | {"device": str(device), "kernels": kernels}


def test_whole_run(device: torch.device, scale: Scale, in_turns: Any, report: Any, tmp_path: Path) -> None:
    """One pair is measured; before it, a short run prepares the data."""

    def run(kernels: str, strategy: str = "stamp_plus", *options: str) -> Callable[[], None]:
        words = ["--strategy", strategy, "--folds", "0", "--protocol", "quick", *scale.run, *options, "--quiet"]
        place = ["--device", str(device), "--kernels", kernels, "--runs", str(tmp_path / f"{kernels} {strategy}")]

        def execute() -> None:
            command = [sys.executable, "-m", "stampbench.benchmark", "run", *words, *place]
            subprocess.run(command, check=True, capture_output=True)

        return execute

    if device.type == "cuda" and not Path(os.environ.get("STAMPBENCH_DATA", "absent")).is_dir():
        pytest.skip("STAMPBENCH_DATA does not name a folder of real data")
    if device.type == "cuda":
        run("plain", "standard", "--protocol-set", "max_epochs=1")()
    times = in_turns({"fast": run("fast"), "plain": run("plain")}, 1, warm_ups=0)
    fast, plain = (times.seconds[name][0] for name in ("fast", "plain"))
    report(f"whole run, stamp_plus, quick, {scale.run[1]} n=25: × plain eager", plain / fast, at_least=3.0,
           detail=f"one pair: fast {fast:.0f} s, plain {plain:.0f} s")  # fmt: skip


def test_runs_that_share_the_device(
    device: torch.device, scale: Scale, run_workers: Callable[..., Any], in_turns: Any, report: Any
) -> None:
    settings = settings_of(scale, device)
    group = [run_workers(**settings) for _ in range(scale.processes)]

    def together() -> None:
        for worker in group:
            worker.start(scale.steps)
        for worker in group:
            worker.wait()

    times = in_turns({"together": together, "alone": lambda: group[0].train(scale.steps)}, scale.rounds)
    report(f"{scale.processes} runs per device, f=4, batch {scale.batch}: × runs per hour of one",
           scale.processes * times.ratio("together", "alone"), at_least=4.0,
           detail=f"time-sliced; {times.spread('together', 'alone')}")  # fmt: skip


@pytest.mark.parametrize("kernels", ["fast", "plain"])
def test_idle_time_of_a_step(kernels: str, device: torch.device, scale: Scale, report: Any, tmp_path: Path) -> None:
    """The steps of an epoch follow each other without waiting; what happens between epochs is not among them."""
    trace = helper("device_trace")
    settings = settings_of(scale, device, kernels) | {"images": 10 * scale.batch}
    session = helper("run_worker").new_trainer(settings, tmp_path).session
    session.train_epoch()
    intervals = trace.traced_intervals(session.train_epoch, device)
    goal = {"at_most": 0.2} if kernels == "fast" else {}
    report(f"idle share of ten steps, {kernels} kernels, f=4, batch {scale.batch}", trace.idle_share(intervals),
           **goal, detail=f"{len(intervals)} kernels")  # fmt: skip


class Step:
    """A training step of a plain U-Net, without this package's kernels."""

    def __init__(self, f: int, scale: Scale, device: torch.device, layout: str, precision: str) -> None:
        torch.manual_seed(0)
        self.model = build(UNetArchitecture.doubling(3, 1, CLASSES, f=f, depth=scale.depth), "plain").to(device).train()
        self.model.to(memory_format=LAYOUTS[layout])  # type: ignore[call-overload]
        self.images = torch.randn(scale.batch, 1, *scale.size, device=device).to(memory_format=LAYOUTS[layout])
        self.labels = torch.randint(CLASSES, (scale.batch, 1, *scale.size), device=device)
        self.optimiser = torch.optim.Adam(self.model.parameters(), fused=True)
        self.loss, self.device, self.precision, self.steps = make_loss("dice_ce"), device, precision, scale.steps

    def __call__(self) -> float:
        """Train some steps; return the seconds of one."""
        half = PRECISIONS[self.precision]
        with tf32(self.precision == "tf32"):
            synchronise(self.device)
            started = time.perf_counter()
            for _ in range(self.steps):
                self.optimiser.zero_grad(set_to_none=True)
                with torch.autocast(self.device.type, half, enabled=half is not None):
                    logits = self.model(self.images)
                self.loss(logits.float(), self.labels).backward()
                self.optimiser.step()
            synchronise(self.device)
            return (time.perf_counter() - started) / self.steps


@contextmanager
def tf32(allowed: bool) -> Iterator[None]:
    """Allow TF32 in convolutions and matrix products, or not."""
    before = torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = allowed
    yield
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = before


@pytest.mark.parametrize("f", [4, 8, 16, 32])
def test_step_by_precision_and_layout(f: int, device: torch.device, scale: Scale, in_turns: Any, report: Any) -> None:
    gpu = device.type == "cuda"
    precisions = list(PRECISIONS) if gpu else ["fp32", "bf16"]
    steps = {
        f"{precision}, {layout}": Step(f, scale, device, layout, precision)
        for precision in precisions
        for layout in LAYOUTS
    }
    times = in_turns(steps, scale.rounds)
    first = "fp32, channels-first"
    for name in steps:
        milliseconds = 1000 * sorted(times.seconds[name])[len(times.seconds[name]) // 2]
        report(f"eager step, f={f}, batch {scale.batch}, {name}: × {first}", times.ratio(name, first),
               detail=f"{milliseconds:.2f} ms; {times.spread(name, first)}")  # fmt: skip


def test_cudnn_benchmark(device: torch.device, scale: Scale, in_turns: Any, report: Any, tmp_path: Path) -> None:
    """Every prune gives the convolutions of a layer new shapes, which cuDNN tries anew."""
    worker = helper("run_worker")

    def prune_and_train(chosen: bool) -> Callable[[], float]:
        def execute() -> float:
            before, torch.backends.cudnn.benchmark = torch.backends.cudnn.benchmark, chosen
            trainer = worker.new_trainer(settings_of(scale, device), Path(tempfile.mkdtemp(dir=tmp_path)))
            trainer.train(1)
            started = time.perf_counter()
            for _ in range(4 if device.type == "cuda" else 1):
                layers = trainer.architecture.layers
                trainer.prune([Filter(max(layers, key=lambda name: layers[name]), 0)])
                trainer.train(5)
            torch.backends.cudnn.benchmark = before
            return time.perf_counter() - started

        return execute

    times = in_turns({"on": prune_and_train(True), "off": prune_and_train(False)}, min(scale.rounds, 2))
    report("prunes with five epochs after each, cudnn.benchmark on: × off", times.ratio("on", "off"),
           detail=times.spread("on", "off"))  # fmt: skip


def test_compiled_step(device: torch.device, scale: Scale, in_turns: Any, report: Any) -> None:
    if device.type == "cpu":
        pytest.skip("compiling takes a minute on a CPU, where 'make bench' measures it")
    eager, compiled = (Step(4, scale, device, "channels-first", "fp32") for _ in range(2))
    compiled.model.compile()
    started = time.perf_counter()
    try:
        compiled()
    except Exception as error:  # no compiler, or a version of Triton that does not fit
        pytest.skip(f"torch.compile: {type(error).__name__}: {' '.join(str(error).split())[:100]}")
    seconds = time.perf_counter() - started
    times = in_turns({"eager": eager, "compiled": compiled}, scale.rounds)
    spread = times.spread("compiled", "eager")
    report("compiled step, f=4, fp32: × eager", times.ratio("compiled", "eager"),
           detail=f"{seconds:.0f} s of compilation, again after every prune; {spread}")  # fmt: skip
