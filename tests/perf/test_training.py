"""Speed of training steps, compared with a plain PyTorch training loop."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from stampbench.benchmark.config.dataset_request import find_definition
from stampbench.benchmark.config.resolve import resolve_protocol, resolve_strategies
from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.environment.progress import Progress
from stampbench.benchmark.execution.run import Draw, plan_run
from stampbench.benchmark.training.fold_data import FoldData, Images
from stampbench.benchmark.training.resume import ResumeFile
from stampbench.benchmark.training.trainer import RunTrainer
from stampbench.datasets.dataset import open_dataset
from stampbench.models.architecture import UNetArchitecture

VOLUME, PICTURE = (48, 64, 48), (320, 320)
STEPS = {
    "3D 48×64×48, f=4, batch 8": (UNetArchitecture.doubling(3, 1, 3, f=4), VOLUME, 8, 1.8, 3.0),
    "3D 48×64×48, f=4, batch 16": (UNetArchitecture.doubling(3, 1, 3, f=4), VOLUME, 16, 1.8, 3.0),
    "2D 320×320, f=4, batch 16": (UNetArchitecture.doubling(2, 1, 3, f=4), PICTURE, 16, 1.6, 3.0),
    "3D 48×64×48, f=8, batch 8": (UNetArchitecture.doubling(3, 1, 3, f=8), VOLUME, 8, 1.4, 2.0),
    "3D 48×64×48, flat f=16, batch 8": (UNetArchitecture.flat(3, 1, 3, f=16), VOLUME, 8, 1.4, 2.0),
}
WIDE = (UNetArchitecture.doubling(2, 1, 3, f=32), PICTURE, 4)


@pytest.mark.parametrize("name", STEPS)
def test_training_step(name: str, workers: Callable[..., Any], time_interleaved: Any, report: Any) -> None:
    architecture, size, batch, goal, goal_unchanged = STEPS[name]
    common = {"size": size, "batch": batch}
    fast = workers(architecture, **common)
    plain = workers(architecture, **common, loop="plain", kernels="plain")
    unchanged = workers(architecture, **common, loop="plain", kernels="plain", keep_heap=False)
    times = time_interleaved({"fast": fast.train, "plain": plain.train, "as it comes": unchanged.train})
    report(f"step, {name}: × plain, heap kept", times.ratio("fast", "plain"), at_least=goal,
           detail=times.spread("fast", "plain"))  # fmt: skip
    report(f"step, {name}: × plain as it comes", times.ratio("fast", "as it comes"), at_least=goal_unchanged,
           detail=times.spread("fast", "as it comes"))  # fmt: skip
    report(f"step, {name}: minor page faults", fast.page_faults, at_most=5_000,
           detail=f"plain, heap kept: {plain.page_faults:,}; as it comes: {unchanged.page_faults:,}")  # fmt: skip


def test_training_step_of_a_wide_network(workers: Callable[..., Any], time_interleaved: Any, report: Any) -> None:
    architecture, size, batch = WIDE
    common = {"size": size, "batch": batch}
    times = time_interleaved(
        {
            "fast": workers(architecture, **common).train,
            "bf16": workers(architecture, **common, precision="bf16").train,
            "plain": workers(architecture, **common, loop="plain", kernels="plain").train,
        }
    )
    name = "step, 2D 320×320, f=32, batch 4"
    report(f"{name}: × plain, heap kept", times.ratio("fast", "plain"), at_least=1.0,
           detail=times.spread("fast", "plain"))  # fmt: skip
    report(f"{name}, bf16: × plain, heap kept", times.ratio("bf16", "plain"), at_least=1.7,
           detail=times.spread("bf16", "plain"))  # fmt: skip


def test_single_optimisations(workers: Callable[..., Any], time_interleaved: Any, report: Any) -> None:
    """Each optimisation is switched off, or on, while all others are in place."""
    architecture, size, batch, *_ = STEPS["3D 48×64×48, f=4, batch 8"]
    common = {"size": size, "batch": batch}
    complete, checkpointing = workers(architecture, **common), workers(architecture, **common, save_memory=True)
    variants = {
        "complete": complete,
        "plain kernels": workers(architecture, **common, kernels="plain"),
        "a DataLoader": workers(architecture, **common, loop="plain"),
        "system allocator": workers(architecture, **common, keep_heap=False),
        "Adam not fused": workers(architecture, **common, fused_adam=False),
        "bf16": workers(architecture, **common, precision="bf16"),
        "activations twice": checkpointing,
    }
    times = time_interleaved({name: worker.train for name, worker in variants.items()})
    for name in list(variants)[1:]:
        detail = times.spread("complete", name)
        if name == "activations twice":
            detail += f"; peak memory × {checkpointing.peak_kilobytes / complete.peak_kilobytes:.2f}"
        report(f"fast step, 3D f=4, batch 8, with {name}: × time", times.ratio("complete", name), detail=detail)


@pytest.mark.slow
def test_compiled_step(workers: Callable[..., Any], time_interleaved: Any, report: Any) -> None:
    architecture, size, batch, *_ = STEPS["3D 48×64×48, f=4, batch 8"]
    common = {"size": size, "batch": batch}
    # Compilation gains most in this layout, in which inductor's own BatchNorm is exact.
    compiled = workers(architecture, **common, kernels="plain", compiled=True, layout="channels-last")
    first = compiled.train()
    times = time_interleaved({"fast": workers(architecture, **common).train, "compiled": compiled.train})
    report("step, 3D f=4, batch 8, channels-last, compiled: × the fast step", times.ratio("fast", "compiled"),
           detail=times.spread("fast", "compiled") + f"; the first step took {first:.0f} s")  # fmt: skip


TWO_RUNS = {
    "3D 48×64×48, batch 4": (UNetArchitecture.doubling(3, 1, 3, f=4), VOLUME, 4, 4, {"at_least": 1.07}),
    "2D 64×64, batch 4": (UNetArchitecture.doubling(2, 1, 3, f=4), (64, 64), 4, 60, {}),
}


@pytest.mark.parametrize("name", TWO_RUNS)
def test_two_runs_at_once(name: str, workers: Callable[..., Any], time_interleaved: Any, report: Any) -> None:
    architecture, size, batch, steps, goal = TWO_RUNS[name]
    together = workers(architecture, size=size, batch=batch, threads=2)
    pair = [workers(architecture, size=size, batch=batch, threads=1) for _ in range(2)]

    def both() -> None:
        for worker in pair:
            worker.start(steps)
        for worker in pair:
            worker.wait()

    # Each run of the pair trains as many steps, so that a round of the pair does twice the work.
    times = time_interleaved({"pair": both, "one after the other": lambda: together.train(2 * steps)}, 9)
    variants = "pair", "one after the other"
    report(f"two runs of 1 thread against one of 2, {name}: × runs per hour", times.ratio(*variants), **goal,
           detail=times.spread(*variants))  # fmt: skip


def test_epoch_overhead(time_interleaved: Any, report: Any, tmp_path: Path) -> None:
    """The overhead is everything in an epoch except forward pass, loss, backward pass and optimiser step."""
    protocol = resolve_protocol("quick", {})
    (resolved,) = resolve_strategies(["standard"], protocol, {})
    run = plan_run(resolved, open_dataset(find_definition("phantom3d")), protocol, Draw(25, fold=0, seed=0))
    images = Images(torch.randn(20, 1, *VOLUME), torch.randint(3, (20, *VOLUME), dtype=torch.uint8), torch.arange(20))
    data = FoldData(images, images, ("background", "one", "two"), 1, VOLUME)
    architecture, progress = UNetArchitecture.doubling(3, 1, 3, f=4), Progress("bench", 1, quiet=True)
    trainer = RunTrainer(run.spec, architecture, data, ComputeSettings(device="cpu"), progress, ResumeFile(tmp_path))
    order = torch.randperm(20)
    batches = [(images.pixels[part].clone(), images.labels[part].clone()) for part in order.split(4)]

    def bare() -> None:
        trainer.model.train()
        for x, y in batches:
            trainer.session.optimiser.zero_grad()
            trainer.session.loss.of_batch(trainer.model, x, y).backward()
            trainer.session.optimiser.step()

    def epoch() -> None:  # the loss that it returns would be taken for seconds
        trainer.train(1)

    times = time_interleaved({"bare": bare, "epoch": epoch}, 15)
    report("epoch overhead, 20 volumes, batch 4: share of the epoch", 1 - 1 / times.ratio("bare", "epoch"),
           at_most=0.03, detail=times.spread("bare", "epoch"))  # fmt: skip
