"""Execution of one planned run in this process: train, select, evaluate, time and record."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from traceback import walk_tb
from typing import Any, NamedTuple

import torch

from stampbench.benchmark.config.dataset_description import DatasetDescription
from stampbench.benchmark.environment.allocator import release_heap
from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.environment.machine import timing_machine
from stampbench.benchmark.environment.progress import Progress
from stampbench.benchmark.environment.provenance import environment, provenance
from stampbench.benchmark.errors import TrainingFailedError, UserError
from stampbench.benchmark.execution.parents import read_parent, trained_elsewhere
from stampbench.benchmark.execution.run import Run
from stampbench.benchmark.execution.summary import summarise
from stampbench.benchmark.inference.low_precision import LowPrecision
from stampbench.benchmark.measure.backends import Backend
from stampbench.benchmark.measure.case_score import CaseScore
from stampbench.benchmark.measure.evaluate import evaluate, mean_dice
from stampbench.benchmark.measure.latency import Cell, time_networks
from stampbench.benchmark.measure.latency_row import LatencyRow
from stampbench.benchmark.measure.memory import out_of_memory
from stampbench.benchmark.measure.trajectory_rows import Checkpoint, Epoch, RemovedFilter
from stampbench.benchmark.records.lease import Lease
from stampbench.benchmark.records.run_folder import RunFolder
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.schema import Record, Summary
from stampbench.benchmark.training.fold_data import FoldData, load_fold
from stampbench.benchmark.training.parent import FinishedParent
from stampbench.benchmark.training.resume import ResumeFile
from stampbench.benchmark.training.sampling import example
from stampbench.benchmark.training.trainer import RunTrainer
from stampbench.datasets.atomic_file import write_bytes
from stampbench.datasets.preparation.prepared_case import PreparedCase
from stampbench.models.model import Model
from stampbench.models.tracing.traced import TracedModel
from stampbench.models.weights.serialization import save_model
from stampbench.strategies.base import Strategy
from stampbench.strategies.errors import StrategyError

_LATENCY_SECONDS = 2.0


class Workplace(NamedTuple):
    """Where a run is executed.

    Attributes:
        store: where it is recorded.
        compute: how it is computed.
        progress: where its progress is shown.
        timed: whether latency is measured, which is meaningless while other runs share the device.
    """

    store: RunStore
    compute: ComputeSettings
    progress: Progress
    timed: bool = True


def execute(run: Run, prepared: Mapping[str, PreparedCase], place: Workplace, *, force: bool = False) -> Summary:
    """Train, select, evaluate and record a run, whose parent runs are finished; resumes an unfinished run.

    Args:
        run: the run.
        prepared: its prepared cases by id.
        place: store, compute settings and progress.
        force: whether a finished record is replaced.

    Raises:
        RunLeasedError: when another process holds the run, or took it over.
        TrainingFailedError: when the run fails; it is recorded as failed, with the reason.
        UserError: when the store cannot be written, or a resume state or parent run is damaged.
        ModelError: when a parent run's network is damaged.
    """
    store, compute = place.store, place.compute
    started = Record.started(
        run.spec, run.label, DatasetDescription.of(run.dataset), environment(compute), provenance()
    )
    parents = {name: read_parent(each.spec, store, compute) for name, each in run.parents.items()}
    parents |= {name: trained_elsewhere(model, compute) for name, model in run.trained.items()}
    with Lease(store.lease_folder(run.spec)) as lease:
        if not force and store.status(run.spec) == "finished":  # by another process, just now
            lease.remove()
            return store.read(run.spec)[1].results
        folder = store.begin(started, lease, force=force)
        with _failures_recorded(folder, run.spec.protocol.batch_size, compute.torch_device):
            return _execute(run, prepared, place, folder, parents)


@contextmanager
def _failures_recorded(folder: RunFolder, batch: int, device: torch.device) -> Iterator[None]:
    """Record the reason of a failure, and raise it as one of the package's errors."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:  # such as a full disk, after which the run can be resumed
        raise UserError(f"cannot write the run to {folder.path}: {error.strerror or error}") from error
    except Exception as error:  # a plug-in may fail in any way
        if out_of_memory(error):
            reason = (
                f"memory ran out on {device} with batch size {batch}; activation checkpointing (save_memory) needs "
                f"less, or batch_size={max(batch // 2, 1)} (another protocol)"
            )
            folder.fail(reason, resumable=True)
            torch.cuda.empty_cache()  # does nothing if no GPU was used
            raise TrainingFailedError(reason) from error
        permanent = isinstance(error, TrainingFailedError | StrategyError)
        reason = _undetermined(error, device)
        reason = reason or ("" if permanent else f"{type(error).__name__}: ") + " ".join(str(error).split())
        folder.fail(reason, resumable=not permanent)
        raise TrainingFailedError(reason) from error


def _undetermined(error: Exception, device: torch.device) -> str:
    """Return why deterministic algorithms are not possible; empty if the error is another one."""
    operation, found, _ = str(error).partition(" does not have a deterministic implementation")
    if not found:
        return ""
    return (
        f"operation '{operation}' has no deterministic form on {device}; train without deterministic algorithms, or "
        "choose a network, loss or strategy without it"
    )


def _execute(
    run: Run,
    prepared: Mapping[str, PreparedCase],
    place: Workplace,
    folder: RunFolder,
    parents: Mapping[str, FinishedParent],
) -> Summary:
    compute, progress = place.compute, place.progress
    resume = ResumeFile(folder.resume, folder.lease.check)
    data = load_fold(run.split, prepared, run.dataset, compute.torch_device)
    trainer = RunTrainer(run.spec, run.architecture, data, compute, progress, resume, parents)
    try:
        _fit(run.resolved.strategy, trainer)
        if trainer.session.validator.precision != run.spec.test_precision:
            # `predict`, `latency` and the check of submissions would take another network than the run.
            raise StrategyError("compute_in: only the strategy 'quantised' records the precision that it is tested in")
        model = trainer.selected_model()
        release_heap()  # the distances of large volumes need memory of their own
        scores = evaluate(
            trainer.session.validator.network(model),
            [prepared[case] for case in run.split.test],
            run.dataset.classes,
            compute.torch_device,
            folder.record.evaluation,
            lambda done, total: progress.case(done, total, "testing"),
        )
        if compute.trajectory_test:
            _test_trajectory(trainer, run, prepared, place, folder)
    except (TrainingFailedError, StrategyError):
        raise
    except BaseException:  # Ctrl-C or out of memory: keep the epochs trained so far
        trainer.save()
        raise
    latency = _latency(model, data, place, trainer.session.validator.precision)
    _write_tables(folder, trainer, scores, latency)
    save_model(model.cpu(), folder.model, write_bytes)
    model_bytes = sum(path.stat().st_size for path in folder.model.iterdir())
    summary = summarise(trainer, scores, run.dataset.seen, model_bytes)
    folder.finish(summary)
    return summary


def _fit(strategy: Strategy, trainer: RunTrainer) -> None:
    """Let a strategy train.

    Raises:
        StrategyError: when it calls `exit()`, which would end the process without a word. Schedulers of clusters end a
            process in this way, too, from their signal handlers; these exits pass.
    """
    try:
        strategy.fit(trainer)
    except SystemExit as error:
        *_, (frame, _) = walk_tb(error.__traceback__)
        if frame.f_globals.get("__name__") != type(strategy).__module__:
            raise
        raise StrategyError(f"called exit({error})") from error


def _test_trajectory(
    trainer: RunTrainer, run: Run, prepared: Mapping[str, PreparedCase], place: Workplace, folder: RunFolder
) -> None:
    """Add the mean test Dice to every checkpoint; training and selection are over, so that it changes nothing."""
    cases = [prepared[case] for case in run.split.test]
    classes, device = run.dataset.classes, place.compute.torch_device
    total, tested = len(trainer.trajectory), []
    for number, (row, model) in enumerate(zip(trainer.trajectory, trainer.checkpoint_models(), strict=True), start=1):
        dice = mean_dice(trainer.session.validator.network(model), cases, classes, device, folder.record.evaluation)
        tested.append(row.model_copy(update={"test_dice": dice}))
        place.progress.case(number, total, "testing checkpoints")
    trainer.trajectory = tested


def _write_tables(folder: RunFolder, trainer: RunTrainer, scores: list[CaseScore], latency: list[LatencyRow]) -> None:
    folder.write_table("trajectory.csv", Checkpoint, [each.model_dump() for each in trainer.trajectory])
    folder.write_table("epochs.csv", Epoch, [each.model_dump() for each in trainer.session.epochs])
    folder.write_table("pruned.csv", RemovedFilter, [each.model_dump() for each in trainer.pruned])
    hidden = set() if folder.record.evaluation.average_hausdorff else {"average_hausdorff_set"}
    rows: list[dict[str, Any]] = [each.model_dump(by_alias=True, exclude=hidden) for each in scores]
    folder.write_table("cases.csv", CaseScore, rows)
    folder.write_table("latency.csv", LatencyRow, [each.model_dump() for each in latency])


def _latency(
    model: Model, data: FoldData, place: Workplace, precision: LowPrecision | None
) -> list[LatencyRow]:  # fmt: skip
    """Time the selected network on one image, with PyTorch's and this package's kernels; in a low precision, OpenVINO.

    Args:
        model: the network.
        data: the images.
        place: device and settings.
        precision: precision in which it was tested; None: that of the training.
    """
    device = place.compute.torch_device if precision is None else torch.device("cpu")
    fast = device.type == "cpu" and not isinstance(model, TracedModel)
    backends: list[Backend] = ["openvino"] if precision else ["eager", "fast"] if fast else ["eager"]
    if not place.timed:
        return []
    try:
        image = example(data).to(device)
        machine = timing_machine(device).model_dump()
        cells = [Cell(backend, precision or "fp32") for backend in backends]
        timed = [time_networks({"selected": model}, image, cell, seconds=_LATENCY_SECONDS) for cell in cells]
        return [LatencyRow(**row.model_dump(), **machine) for each in timed for row in each.rows]
    except (RuntimeError, UserError):  # a trained run is not lost because it cannot be timed
        return []
