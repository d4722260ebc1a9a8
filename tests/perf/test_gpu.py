"""Speed on a GPU against goals; `--device cpu` rehearses it in miniature."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from importlib import util
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest
import torch

from stampbench.benchmark.environment.compute_settings import ComputeSettings, configure_process
from stampbench.models.architecture import Filter, UNetArchitecture

pytestmark = pytest.mark.gpu
CLASSES = 3


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
        data: options of the data of the whole run.
        run: its other options.
    """

    size: tuple[int, int, int]
    batch: int
    images: int
    depth: int
    steps: int
    rounds: int
    processes: int
    data: tuple[str, ...]
    run: tuple[str, ...]


FULL = Scale(
    (48, 64, 48), 16, 32, 4, 2, 5, 8, ("--dataset", "hippocampus", "--n-train", "25"),
    ("--protocol-set", "max_epochs=46", "--set", "filters_per_step=24"),
)  # fmt: skip
MINIATURE = Scale((16, 16, 16), 2, 4, 1, 1, 1, 2, ("--dataset", "phantom3d:size=16,cases=14"), (
    "--protocol-set", "max_epochs=1", "--set", "f=2", "--set", "depth=1", "--set", "filters_per_step=8",
    "--set", "recovery_epochs=1",
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


def settings_of(scale: Scale, device: torch.device, kernels: str = "fast") -> dict[str, Any]:
    """Return the settings of a process of `run_worker.py`."""
    shared = {"size": scale.size, "batch": scale.batch, "images": scale.images, "depth": scale.depth, "f": 4}
    return shared | {"device": str(device), "kernels": kernels}


def test_runs_that_share_the_device(
    device: torch.device, scale: Scale, run_workers: Callable[..., Any], in_turns: Any, report: Any
) -> None:
    settings = settings_of(scale, device)
    sharing, pinned = helper("cuda_sharing"), list[Any]()
    slices = [run_workers(**settings) for _ in range(scale.processes)]

    def together(group: Sequence[Any]) -> None:
        for worker in group:
            worker.start(1)
        for worker in group:
            worker.wait()

    variants = {"alone": partial(slices[0].train, 1), "time-sliced": partial(together, slices)}
    with tempfile.TemporaryDirectory(prefix="mps") as folder, sharing.multi_process_service(Path(folder)) as service:
        if service is not None:
            pinned = [run_workers(environment=service, **settings) for _ in range(scale.processes)]
            sharing.pin([worker.process.pid for worker in pinned])
            variants["with MPS, on cores of their own"] = partial(together, pinned)
        times = in_turns(variants, min(scale.rounds, 3))
        for worker in pinned:
            worker.end()
    for name in list(variants)[1:]:
        report(f"{scale.processes} runs per device, f=4, batch {scale.batch}, {name}: × runs per hour of one",
               scale.processes * times.ratio(name, "alone"), at_least=4.0,
               detail=times.spread(name, "alone"))  # fmt: skip


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


PLAIN = "plain loop"
VARIANTS: dict[str, dict[str, Any]] = {
    PLAIN: {"loop": "plain", "kernels": "plain"},
    "executed": {"recorded": False},
    "recorded": {},
    "recorded, channels-last": {"layout": "channels-last"},
    "recorded, deterministic": {"deterministic": True},
    "recorded, tf32": {"precision": "tf32"},
    "recorded, bf16": {"precision": "bf16"},
    "recorded, bf16, channels-last": {"precision": "bf16", "layout": "channels-last"},
    "recorded, bf16, separate bias": {"precision": "bf16", "separate_bias": True},
    "executed, fp16": {"precision": "fp16"},
}
"""Settings of `worker.py` by the name of the variant; on a CPU nothing is recorded, and kernels are those of a CPU."""


@pytest.fixture
def new_training(device: torch.device, scale: Scale) -> Iterator[Callable[..., Any]]:
    """Function that returns the `Training` of `worker.py` in this process, which is configured for it in each turn."""
    worker = helper("worker")

    def start(f: int, **settings: Any) -> Any:
        architecture = UNetArchitecture.doubling(3, 1, CLASSES, f=f, depth=scale.depth).model_dump_json()
        # Recordings keep their memory, so that wide networks get smaller batches.
        batch = scale.batch if f <= 8 else max(scale.batch // 4, 1)
        sizes = {"size": scale.size, "batch": batch, "batches": scale.steps, "device": device.type}
        return worker.Training(worker.Settings(architecture=architecture, **sizes, **settings))

    yield start
    configure_process(ComputeSettings(device="cpu"))


def epoch(training: Any, train: Callable[[], float] | None = None) -> float:
    """Train an epoch, or call `train`; return the seconds of a step."""
    configure_process(training.settings.compute)
    started = time.perf_counter()
    (train or training.train)()  # it reads the loss, and so waits for the device
    return (time.perf_counter() - started) / int(training.settings.batches)


@pytest.mark.parametrize("f", [4, 16])
def test_step_variants(
    f: int, device: torch.device, scale: Scale, new_training: Callable[..., Any], in_turns: Any, report: Any
) -> None:
    known = {name: each for name, each in VARIANTS.items() if device.type == "cuda" or each.get("precision") != "fp16"}
    trainings = {name: new_training(f, **each) for name, each in known.items()}
    times = in_turns({name: partial(epoch, each) for name, each in trainings.items()}, scale.rounds)
    for name in list(known)[1:]:
        goal = {"at_least": 3.0} if (name, f) == ("recorded", 4) else {}
        milliseconds = 1000 * sorted(times.seconds[name])[len(times.seconds[name]) // 2]
        report(f"step, f={f}, batch {trainings[name].settings.batch}, {name}: × {PLAIN}", times.ratio(name, PLAIN),
               **goal, detail=f"{milliseconds:.2f} ms; {times.spread(name, PLAIN)}")  # fmt: skip


@pytest.mark.parametrize("name", ["executed", "recorded", "compiled"])
def test_prune(name: str, device: torch.device, new_training: Callable[..., Any], report: Any) -> None:
    """The epoch after a prune records or compiles anew."""
    if name == "compiled" and device.type == "cpu":
        pytest.skip("compiling takes a minute on a CPU, where 'make bench' measures it")
    training = new_training(4, **({"compiled": True} if name == "compiled" else {}), recorded=name == "recorded")
    try:
        epoch(training)
        usual = min(epoch(training) for _ in range(3))
        pruned = epoch(training, training.prune)
    except Exception as error:  # no compiler, or a version of Triton that does not fit
        if name != "compiled":
            raise
        pytest.skip(f"torch.compile: {type(error).__name__}: {' '.join(str(error).split())[:100]}")
    steps = training.settings.batches
    report(f"epoch after a prune, f=4, {name}: additional seconds", steps * (pruned - usual),
           detail=f"{steps} steps of {1000 * usual:.2f} ms")  # fmt: skip


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


def test_whole_run(device: torch.device, scale: Scale, in_turns: Any, report: Any, tmp_path: Path) -> None:
    """One pair is measured, at the end, as it takes the longest; before it, a short run prepares the data."""

    def run(kernels: str, strategy: str, *options: str) -> Callable[[], None]:
        words = ["--strategy", strategy, *scale.data, "--folds", "0", "--protocol", "quick", *options, "--quiet"]
        place = ["--device", str(device), "--kernels", kernels, "--runs", str(tmp_path / f"{kernels} {strategy}")]

        def execute() -> None:
            command = [sys.executable, "-m", "stampbench.benchmark", "run", *words, *place]
            subprocess.run(command, check=True, capture_output=True)

        return execute

    if device.type == "cuda" and not Path(os.environ.get("STAMPBENCH_DATA", "absent")).is_dir():
        pytest.skip("STAMPBENCH_DATA does not name a folder of real data")
    if device.type == "cuda":
        run("plain", "standard", "--protocol-set", "max_epochs=1")()
    pair = {kernels: run(kernels, "stamp_plus", *scale.run) for kernels in ("fast", "plain")}
    times = in_turns(pair, 1, warm_ups=0)
    fast, plain = (times.seconds[name][0] for name in ("fast", "plain"))
    report(f"run of stamp_plus, {scale.data[1]}, {scale.run[1]}: × plain eager", plain / fast, at_least=3.0,
           detail=f"one pair: fast {fast:.0f} s, plain {plain:.0f} s")  # fmt: skip
