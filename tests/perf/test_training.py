"""A training step, against the loop that everybody writes."""

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
def test_step(name: str, workers: Callable[..., Any], in_turns: Any, report: Any) -> None:
    architecture, size, batch, goal, goal_as_it_comes = STEPS[name]
    common = {"size": size, "batch": batch}
    fast = workers(architecture, **common)
    plain = workers(architecture, **common, loop="plain", kernels="plain")
    as_it_comes = workers(architecture, **common, loop="plain", kernels="plain", keep_heap=False)
    taken = in_turns({"fast": fast.train, "plain": plain.train, "as it comes": as_it_comes.train})
    report(f"step, {name}: × plain, heap kept", taken.ratio("fast", "plain"), at_least=goal,
           detail=taken.spread("fast", "plain"))  # fmt: skip
    report(f"step, {name}: × plain as it comes", taken.ratio("fast", "as it comes"), at_least=goal_as_it_comes,
           detail=taken.spread("fast", "as it comes"))  # fmt: skip
    report(f"step, {name}: minor page faults", fast.page_faults, at_most=5_000,
           detail=f"plain, heap kept: {plain.page_faults:,}; as it comes: {as_it_comes.page_faults:,}")  # fmt: skip


def test_wide_step(workers: Callable[..., Any], in_turns: Any, report: Any) -> None:
    architecture, size, batch = WIDE
    common = {"size": size, "batch": batch}
    taken = in_turns(
        {
            "fast": workers(architecture, **common).train,
            "bf16": workers(architecture, **common, precision="bf16").train,
            "plain": workers(architecture, **common, loop="plain", kernels="plain").train,
        }
    )
    name = "step, 2D 320×320, f=32, batch 4"
    report(f"{name}: × plain, heap kept", taken.ratio("fast", "plain"), at_least=1.0,
           detail=taken.spread("fast", "plain"))  # fmt: skip
    report(f"{name}, bf16: × plain, heap kept", taken.ratio("bf16", "plain"), at_least=1.7,
           detail=taken.spread("bf16", "plain"))  # fmt: skip


def test_levers_alone(workers: Callable[..., Any], in_turns: Any, report: Any) -> None:
    """Each lever against everything else in place."""
    architecture, size, batch, *_ = STEPS["3D 48×64×48, f=4, batch 8"]
    common = {"size": size, "batch": batch}
    whole, thrifty = workers(architecture, **common), workers(architecture, **common, save_memory=True)
    ways = {
        "whole": whole,
        "plain kernels": workers(architecture, **common, kernels="plain"),
        "a DataLoader": workers(architecture, **common, loop="plain"),
        "system allocator": workers(architecture, **common, keep_heap=False),
        "Adam not fused": workers(architecture, **common, fused_adam=False),
        "bf16": workers(architecture, **common, precision="bf16"),
        "activations twice": thrifty,
    }
    taken = in_turns({name: worker.train for name, worker in ways.items()})
    for name in list(ways)[1:]:
        detail = taken.spread("whole", name)
        if name == "activations twice":
            detail += f"; peak memory × {thrifty.peak_kilobytes / whole.peak_kilobytes:.2f}"
        report(f"fast step, 3D f=4, batch 8, with {name}: × time", taken.ratio("whole", name), detail=detail)


@pytest.mark.slow
def test_compiled_step(workers: Callable[..., Any], in_turns: Any, report: Any) -> None:
    architecture, size, batch, *_ = STEPS["3D 48×64×48, f=4, batch 8"]
    common = {"size": size, "batch": batch}
    compiled = workers(architecture, **common, kernels="plain", compiled=True)
    first = compiled.train()
    taken = in_turns({"fast": workers(architecture, **common).train, "compiled": compiled.train})
    report("step, 3D f=4, batch 8, channels-last, compiled: × the fast step", taken.ratio("fast", "compiled"),
           detail=taken.spread("fast", "compiled") + f"; the first step took {first:.0f} s")  # fmt: skip


TWO_RUNS = {
    "3D 48×64×48, batch 4": (UNetArchitecture.doubling(3, 1, 3, f=4), VOLUME, 4, 4, {"at_least": 1.07}),
    "2D 64×64, batch 4": (UNetArchitecture.doubling(2, 1, 3, f=4), (64, 64), 4, 60, {}),
}


@pytest.mark.parametrize("name", TWO_RUNS)
def test_two_runs_at_once(name: str, workers: Callable[..., Any], in_turns: Any, report: Any) -> None:
    architecture, size, batch, steps, goal = TWO_RUNS[name]
    together = workers(architecture, size=size, batch=batch, threads=2)
    pair = [workers(architecture, size=size, batch=batch, threads=1) for _ in range(2)]

    def both() -> None:
        for worker in pair:
            worker.start(steps)
        for worker in pair:
            worker.wait()

    # As many steps for each run: a round of the pair does twice the work.
    taken = in_turns({"pair": both, "one after the other": lambda: together.train(2 * steps)}, 9)
    ways = "pair", "one after the other"
    report(f"two runs of 1 thread against one of 2, {name}: × runs per hour", taken.ratio(*ways), **goal,
           detail=taken.spread(*ways))  # fmt: skip


def test_epoch_overhead(in_turns: Any, report: Any, tmp_path: Path) -> None:
    """Everything a run does in an epoch but forward, loss, backward and optimiser step: books and state included."""
    protocol = resolve_protocol("quick", {})
    (resolved,) = resolve_strategies(["standard"], protocol, {})
    run = plan_run(resolved, open_dataset(find_definition("phantom3d")), protocol, Draw(25, fold=0, seed=0))
    images = Images(torch.randn(20, 1, *VOLUME), torch.randint(3, (20, *VOLUME), dtype=torch.uint8), torch.arange(20))
    data = FoldData(images, images, ("background", "one", "two"), 1, VOLUME)
    architecture, progress = UNetArchitecture.doubling(3, 1, 3, f=4), Progress("bench", 1, quiet=True)
    trainer = RunTrainer(run.spec, architecture, data, ComputeSettings(device="cpu"), progress, ResumeFile(tmp_path))
    order = torch.randperm(20)
    ready = [(images.pixels[part].clone(), images.labels[part].clone()) for part in order.split(4)]

    def bare() -> None:
        trainer.model.train()
        for x, y in ready:
            trainer.session.optimiser.zero_grad()
            trainer.session.batch_loss(x, y).backward()
            trainer.session.optimiser.step()

    taken = in_turns({"bare": bare, "epoch": lambda: trainer.train(1)}, 15)
    report("epoch overhead, 20 volumes, batch 4: share of the epoch", 1 - 1 / taken.ratio("bare", "epoch"),
           at_most=0.03, detail=taken.spread("bare", "epoch"))  # fmt: skip
