"""Estimates of epochs and seconds from finished runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from stampbench.benchmark.execution.eta import Estimate, FinishedRuns
from stampbench.benchmark.execution.run import Run
from stampbench.benchmark.records.schema import Record, Summary

MakeRun = Callable[..., Run]
Started = Callable[[Run], Record]


def finished(record: Record, **changes: Any) -> Record:
    """Return the record with a summary of these epochs and seconds."""
    values = {name: 0 for name, field in Summary.model_fields.items() if field.is_required()}
    return record.model_copy(update={"summary": Summary(**values | changes)})


def test_median_epochs_and_median_pace_of_the_same_kind_of_run(make_run: MakeRun, started: Started) -> None:
    run = make_run("standard")
    records = [
        finished(started(run), epochs=10, training_seconds=5.0),  # 0.5 s per epoch
        finished(started(run), epochs=20, training_seconds=20.0),  # 1 s
        finished(started(run), epochs=60, training_seconds=180.0),  # 3 s
    ]
    assert FinishedRuns(records).estimate([run]) == Estimate(epochs=20, seconds=20.0, unknown=0)
    assert FinishedRuns(records).estimate([run, run]) == Estimate(epochs=40, seconds=40.0, unknown=0)


def test_other_strategies_on_the_same_data_give_the_pace_but_not_the_epochs(
    make_run: MakeRun, started: Started
) -> None:
    done, planned = make_run("standard"), make_run("stamp", filters_per_step=6, recovery_epochs=2)
    records = [finished(started(done), epochs=10, training_seconds=5.0)]
    expected = planned.expected.epochs
    assert expected > 3
    assert FinishedRuns(records).estimate([planned]) == Estimate(expected, expected * 0.5, unknown=0)


def test_runs_on_other_data_or_of_another_training_size_are_unknown(make_run: MakeRun, started: Started) -> None:
    done = make_run("standard", "phantom2d:size=16,cases=10")
    records = [finished(started(done), epochs=10, training_seconds=5.0)]
    for planned in (
        make_run("standard", "phantom3d:size=16,cases=10"),
        make_run("standard", "phantom2d:size=16,cases=14"),
    ):
        assert FinishedRuns(records).estimate([planned]) == Estimate(planned.expected.epochs, 0.0, unknown=1)
    assert FinishedRuns([]).estimate([done]) == Estimate(done.expected.epochs, 0.0, unknown=1)


def test_epochs_of_parent_runs_are_not_estimated_again(make_run: MakeRun, started: Started) -> None:
    """The seconds of a run with parents include theirs, so that such a run gives no pace."""
    run = make_run("prune_finetune", filters_per_step=8)
    records = [finished(started(run), epochs=50, parent_epochs=30, training_seconds=500.0)]
    assert FinishedRuns(records).estimate([run]) == Estimate(epochs=20, seconds=0.0, unknown=1)
    parent = run.parents["converged"]
    records.append(finished(started(parent), epochs=30, training_seconds=60.0))  # 2 s per epoch
    assert FinishedRuns(records).estimate([parent, run]) == Estimate(epochs=50, seconds=100.0, unknown=0)
