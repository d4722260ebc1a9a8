"""The summary in a run's record: test scores, complexity and charged costs."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from stampbench.benchmark.measure.case_score import CaseScore
from stampbench.benchmark.measure.complexity import count_complexity
from stampbench.benchmark.measure.memory import inference_memory, training_memory
from stampbench.benchmark.measure.trajectory_rows import Checkpoint
from stampbench.benchmark.records.schema import Summary
from stampbench.benchmark.training.trainer import RunTrainer
from stampbench.models.model import parse_architecture


def summarise(trainer: RunTrainer, scores: Sequence[CaseScore], size: tuple[int, ...], model_bytes: int) -> Summary:
    """Summarise a run.

    Args:
        trainer: the trainer, after the strategy has ended.
        scores: scores of the test cases.
        size: spatial size of an image or patch, for complexity and memory.
        model_bytes: bytes of the network's files.
    """
    assert trainer.selected is not None
    chosen = trainer.trajectory[trainer.selected.step]
    selected = parse_architecture(trainer.selected.architecture)
    complexity, charges = count_complexity(selected, size), trainer.charges
    protocol = trainer.session.protocol
    moments = 1 if protocol.optimiser == "sgd" else 2
    cases = pd.DataFrame([each.model_dump() for each in scores])
    return Summary(
        test_dice=_mean(cases["dice"]),
        test_hd95=_mean(cases["hd95"]),
        test_hausdorff=_mean(cases["hausdorff"]),
        test_msd=_mean(cases["msd"]),
        test_nsd=_mean(cases["nsd"]),
        test_empty=int((cases["empty"].isin(["reference", "prediction"])).sum()),
        validation_dice=chosen.validation_dice,
        selected_step=trainer.selected.step,
        selected_epoch=chosen.epoch,
        vanished=_vanished(trainer.trajectory),
        parameters=complexity.parameters,
        macs=complexity.macs,
        flops=complexity.flops,
        inference_bytes=inference_memory(selected, size),
        training_bytes=training_memory(selected, size, protocol.batch_size, moments),
        epochs=charges.epochs,
        parent_epochs=charges.parent_epochs,
        ranking_passes=charges.ranking_passes,
        training_seconds=round(charges.seconds, 3),
        training_joules=charges.joules,
        model_bytes=model_bytes,
    )


def summary_line(summary: Summary) -> str:
    """Describe a finished run in one line."""
    return (
        f"test Dice {summary.test_dice:.3f}, {summary.parameters:,} parameters, {summary.epochs} epochs, "
        f"{summary.training_seconds:.0f} s"
    )


def _vanished(trajectory: Sequence[Checkpoint]) -> dict[str, int]:
    """Return, by class, the first checkpoint at which it vanished; a class that was never predicted does not count."""
    first: dict[str, int] = {}
    before: set[str] | None = None
    for row in trajectory:
        now = set(row.vanished.split("; ")) - {""}
        for name in now - (before if before is not None else now):
            first.setdefault(name, row.step)
        before = now
    return first


def _mean(values: pd.Series[float]) -> float:
    mean = float(values.mean(skipna=False))
    assert not math.isnan(mean)
    return mean
