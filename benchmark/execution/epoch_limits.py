"""Warnings of strategies that the protocol's limit of epochs does not bind."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from stampbench.benchmark.execution.job import Task


def unlimited_strategies(tasks: Sequence[Task]) -> Iterator[str]:
    """Yield a line for each strategy that counts its epochs itself although the user set `max_epochs`.

    Args:
        tasks: planned runs.
    """
    found = {
        (task.run.label, task.run.expected.epochs, task.run.spec.protocol.max_epochs)
        for task in tasks
        if "max_epochs" in task.job.protocol_settings and not task.run.expected.limited
    }
    for label, epochs, limit in sorted(found):
        if epochs > limit:
            yield (
                f"{label}: trains up to {epochs:,} epochs, which it counts itself; max_epochs={limit} limits trainings "
                "to convergence only, so change the strategy's own settings"
            )
