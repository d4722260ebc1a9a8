"""From a spec to a record."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import pandas as pd
import torch

from stampbench.benchmark.config.protocol import Protocol
from stampbench.benchmark.config.resolve import ResolvedStrategy, resolve_strategy
from stampbench.benchmark.config.spec import DatasetIdentity, RunSpec
from stampbench.benchmark.environment.allocator import release_heap
from stampbench.benchmark.environment.compute_settings import Compute
from stampbench.benchmark.environment.progress import Progress
from stampbench.benchmark.environment.provenance import environment, provenance, timing_machine
from stampbench.benchmark.errors import TrainingFailedError, UserError
from stampbench.benchmark.execution.dry_run import DryRunTrainer, plan
from stampbench.benchmark.execution.parents import FinishedParent, read_parent
from stampbench.benchmark.measure.backends import Backend
from stampbench.benchmark.measure.complexity import count
from stampbench.benchmark.measure.evaluate import evaluate
from stampbench.benchmark.measure.latency import time_networks
from stampbench.benchmark.measure.memory import inference_memory, training_memory
from stampbench.benchmark.records.lease import Lease
from stampbench.benchmark.records.run_store import RunFolder, RunStore
from stampbench.benchmark.training.fold_data import FoldData, load_fold
from stampbench.benchmark.training.resume import ResumeFile
from stampbench.benchmark.training.sampling import example
from stampbench.benchmark.training.trainer import RunTrainer
from stampbench.datasets.dataset import Dataset
from stampbench.datasets.prepared_case import PreparedCase
from stampbench.datasets.split import Split
from stampbench.models.architecture import UNetArchitecture
from stampbench.models.network import Architecture, Network, parse_architecture
from stampbench.models.serialization import save_model
from stampbench.strategies.base import Parent
from stampbench.strategies.errors import StrategyError

_LATENCY_SECONDS = 2.0
_PRUNED_COLUMNS = ["step", "layer", "filter", "score"]


class Run(NamedTuple):
    """A run that can be started: what it is, its strategy, its data, its parents, and what it will take at most."""

    spec: RunSpec
    choice: ResolvedStrategy
    dataset: Dataset
    split: Split
    architecture: Architecture
    parents: Mapping[str, Run]
    plan: DryRunTrainer

    @property
    def title(self) -> str:
        label = self.spec.label(self.choice.defaults)
        return f"{self.dataset.name} n={self.spec.n_train} fold {self.spec.fold} seed {self.spec.seed} {label}"


def plan_run(
    choice: ResolvedStrategy,
    dataset: Dataset,
    protocol: Protocol,
    *,
    n_train: int | None,
    fold: int,
    seed: int,
    needed_by: tuple[str, ...] = (),
) -> Run:
    """Work out a run, and the runs it builds on, without touching an image.

    Raises:
        DatasetError: a split that the dataset does not allow.
        UserError: a network that does not fit the image size, or parents that need each other.
    """
    images = dataset.split(n_train, fold, protocol.folds)
    architecture, named_parents = _begin(choice, dataset)
    _check_fit(choice, dataset, architecture, len(images.training) * dataset.tiles, protocol)
    if choice.name in needed_by:
        raise UserError(f"strategy '{choice.name}' builds on itself: {' → '.join((*needed_by, choice.name))}")
    parents = {
        name: plan_run(
            resolve_strategy(parent.strategy, protocol, parent.hyperparameters),
            dataset,
            protocol,
            n_train=n_train,
            fold=fold,
            seed=seed if parent.seed is None else parent.seed,
            needed_by=(*needed_by, choice.name),
        )
        for name, parent in named_parents.items()
    }
    spec = RunSpec(
        strategy=choice.name,
        hyperparameters=choice.strategy.model_dump(mode="json"),
        dataset=DatasetIdentity(
            name=dataset.name,
            version=dataset.definition.version,
            checksum=dataset.checksum,
            spatial_dims=dataset.spatial_dims,
            size=dataset.size,
            patch=dataset.patch,
            fit=dataset.preprocessing.fit,
            clip_range=dataset.preprocessing.clip_range,
            crop=dataset.preprocessing.crop,
        ),
        n_train=len(images.training) + len(images.validation),
        fold=fold,
        seed=seed,
        protocol=protocol,
        code=choice.code,
        parents={name: each.spec.id for name, each in parents.items()},
    )
    planned = plan(choice.strategy, architecture, protocol, {name: each.plan for name, each in parents.items()})
    return Run(spec, choice, dataset, images, architecture, parents, planned)


def with_parents(runs: Sequence[Run]) -> list[Run]:
    """These runs and all that they build on, each once, parents first."""
    ordered: dict[str, Run] = {}

    def visit(run: Run) -> Iterator[Run]:
        for parent in run.parents.values():
            yield from visit(parent)
        yield run

    for run in runs:
        for each in visit(run):
            ordered.setdefault(each.spec.id, each)
    return list(ordered.values())


def prepare_cases(runs: Sequence[Run], progress: Progress) -> Mapping[str, PreparedCase]:
    """Prepare the cases that these runs of one dataset need."""
    needed = {case for run in runs for case in run.split.test}
    needed |= {image.case for run in runs for image in (*run.split.training, *run.split.validation)}
    return runs[0].dataset.prepare(needed, lambda done, of: progress.case(done, of, "preparing"))


def execute(
    run: Run,
    prepared: Mapping[str, PreparedCase],
    store: RunStore,
    compute: Compute,
    progress: Progress,
    *,
    force: bool = False,
) -> dict[str, Any]:
    """Train, select, evaluate and record; an unfinished run goes on where it was. Returns the summary.

    The runs it builds on have to be finished.

    Raises:
        RunLeasedError: another process is at work on the run, or took it over.
        TrainingFailedError: the run cannot go on; it is recorded as failed, with the reason.
        UserError, ModelError: the store cannot be written, or a resume state or a parent is damaged.
    """
    described = {
        "label": run.spec.label(run.choice.defaults),
        "protocol_label": run.spec.protocol_label,
        "dataset": _describe(run.dataset),
        "environment": environment(compute),
        "provenance": provenance(),
    }
    parents = {name: read_parent(each.spec, store, compute) for name, each in run.parents.items()}
    with Lease(store.leases(run.spec)) as lease:
        if not force and store.status(run.spec) == "finished":  # by another process, just now
            lease.remove()
            return dict(store.read(run.spec)[1]["summary"])
        folder = store.begin(run.spec, described, lease, force=force)
        with _failures_recorded(folder, run.spec.protocol.batch_size, compute.device):
            return _execute(run, prepared, folder, compute, progress, parents)


def summary_line(summary: Mapping[str, Any]) -> str:
    """A finished run in a line."""
    return (
        f"test Dice {summary['test_dice']:.3f}, {summary['parameters']:,} parameters, {summary['epochs']} epochs, "
        f"{summary['training_seconds']:.0f} s"
    )


@contextmanager
def _failures_recorded(folder: RunFolder, batch: int, device: torch.device) -> Iterator[None]:
    """What a run raises becomes its recorded reason, and an error of ours."""
    try:
        yield
    except UserError:
        raise
    except OSError as error:  # a full disk, say; what was trained can go on
        raise UserError(f"cannot write the run to {folder.path}: {error.strerror or error}") from error
    except Exception as error:  # a strategy from outside may fail in any way
        if _memory_ran_out(error):
            reason = (
                f"memory ran out on {device} with batch size {batch}; --save-memory needs less, "
                f"or --protocol-set batch_size={max(batch // 2, 1)} (another protocol)"
            )
            folder.fail(reason, resumable=True)
            torch.cuda.empty_cache()  # nothing, where no GPU was used
            raise TrainingFailedError(reason) from error
        hopeless = isinstance(error, TrainingFailedError | StrategyError)
        reason = ("" if hopeless else f"{type(error).__name__}: ") + " ".join(str(error).split())
        folder.fail(reason, resumable=not hopeless)
        raise TrainingFailedError(reason) from error


def _memory_ran_out(error: Exception) -> bool:
    """On the CPU, PyTorch says so in words only."""
    return isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error)


def _execute(
    run: Run,
    prepared: Mapping[str, PreparedCase],
    folder: RunFolder,
    compute: Compute,
    progress: Progress,
    parents: Mapping[str, FinishedParent],
) -> dict[str, Any]:
    resume = ResumeFile(folder.resume, folder.lease.check)
    data = load_fold(run.split, prepared, run.dataset, compute.device)
    trainer = RunTrainer(run.spec, run.architecture, data, compute, progress, resume, parents)
    try:
        run.choice.strategy.fit(trainer)
        model = trainer.selected_model()
        release_heap()  # the distances of large volumes need room of their own
        rows = evaluate(
            model,
            [prepared[case] for case in run.split.test],
            run.dataset.classes,
            compute.device,
            lambda done, of: progress.case(done, of, "testing"),
            postprocessing=run.spec.protocol.postprocessing,
            tolerance=run.dataset.definition.surface_tolerance,
            set_distance=run.spec.protocol.name == "pocketnet",
            window=run.dataset.patch,
        )
    except (TrainingFailedError, StrategyError):
        raise
    except BaseException:  # Ctrl-C, or memory that ran out: the epochs until here are not lost
        trainer.save()
        raise
    folder.write_table("trajectory.csv", trainer.trajectory)
    folder.write_table("pruned.csv", trainer.pruned, _PRUNED_COLUMNS)
    folder.write_table("cases.csv", rows)
    folder.write_table("latency.csv", _latency(model, data, compute))
    save_model(model.cpu(), folder.model)
    summary = _summary(trainer, rows, run.dataset.seen) | {
        "model_bytes": sum(path.stat().st_size for path in folder.model.iterdir())
    }
    folder.finish(summary)
    return summary


def _latency(model: Network, data: FoldData, compute: Compute) -> list[dict[str, Any]]:
    """Of the selected network for one image: PyTorch as it is, and as this package runs it."""
    backends: list[Backend] = ["eager", "fast"] if compute.device.type == "cpu" else ["eager"]
    if not compute.timed:
        return []
    try:
        image = example(data).to(compute.device)
        machine = timing_machine(compute.device)
        return [
            row | machine
            for backend in backends
            for row in time_networks({"selected": model}, image, backend, "fp32", seconds=_LATENCY_SECONDS)
        ]
    except (RuntimeError, UserError):  # a trained run is not lost because its speed cannot be told
        return []


def _begin(choice: ResolvedStrategy, dataset: Dataset) -> tuple[Architecture, Mapping[str, Parent]]:
    """Where a strategy starts and what it builds on; one from outside may fail in any way."""
    try:
        architecture = choice.strategy.start(dataset.spatial_dims, len(dataset.channels), len(dataset.classes))
        if not isinstance(architecture, Architecture):
            raise TypeError(f"start returned {type(architecture).__name__}, no architecture")
        return architecture, choice.strategy.parents()
    except Exception as error:
        raise StrategyError(f"strategy '{choice.name}': {type(error).__name__}: {error}") from error


def _check_fit(
    choice: ResolvedStrategy, dataset: Dataset, architecture: Architecture, training_images: int, protocol: Protocol
) -> None:
    for edge, divisor in zip(dataset.seen, architecture.divisors, strict=True):
        if edge % divisor:
            raise UserError(
                f"strategy '{choice.name}': depth {architecture.depth} needs sizes that are multiples of {divisor}, "
                f"but {dataset.name} has {edge}"
            )
    bottleneck = math.prod(edge // each for edge, each in zip(dataset.seen, architecture.divisors, strict=True))
    single = protocol.batch_size == 1 or training_images % protocol.batch_size == 1
    if bottleneck == 1 and single and isinstance(architecture, UNetArchitecture):
        raise UserError(
            f"{dataset.name}: {training_images} training {'patches' if dataset.patch else 'images'} in batches of "
            f"{protocol.batch_size} leave one alone, "
            f"and depth {architecture.depth} shrinks it to one voxel, too few for BatchNorm; "
            "change --protocol-set batch_size or --set depth"
        )


def _summary(trainer: RunTrainer, rows: list[dict[str, Any]], size: tuple[int, ...]) -> dict[str, Any]:
    assert trainer.selected is not None
    chosen = trainer.trajectory[trainer.selected.step]
    selected = parse_architecture(trainer.selected.architecture)
    cost = count(selected, size)
    cases = pd.DataFrame(rows)
    return {
        "test_dice": _mean(cases["dice"]),
        "test_hd95": _mean(cases["hd95"]),
        "test_hausdorff": _mean(cases["hausdorff"]),
        "test_msd": _mean(cases["msd"]),
        "test_nsd": _mean(cases["nsd"]),
        "test_empty": int((cases["empty"].isin(["reference", "prediction"])).sum()),
        "validation_dice": chosen["validation_dice"],
        "selected_step": trainer.selected.step,
        "selected_epoch": chosen["epoch"],
        "vanished": _vanished(trainer.trajectory),
        "parameters": cost.parameters,
        "macs": cost.macs,
        "flops": cost.flops,
        "inference_bytes": inference_memory(selected, size),
        "training_bytes": training_memory(selected, size, trainer.protocol.batch_size),
        "epochs": trainer.epochs,
        "parent_epochs": trainer.parent_epochs,
        "ranking_passes": trainer.ranking_passes,
        "training_seconds": round(trainer.seconds, 3),
        "training_joules": trainer.joules,
    }


def _vanished(trajectory: list[dict[str, Any]]) -> dict[str, int]:
    """Per class whose validation Dice fell to zero, the step at which it did so first; never seen is not fallen."""
    first: dict[str, int] = {}
    before: set[str] | None = None
    for row in trajectory:
        now = set(row["vanished"].split("; ")) - {""}
        for name in now - (before if before is not None else now):
            first.setdefault(name, row["step"])
        before = now
    return first


def _describe(dataset: Dataset) -> dict[str, Any]:
    phantom = dataset.definition.phantom
    return {
        # A folder is somewhere else on every machine.
        "called": f"{dataset.name}:size={phantom.size},cases={phantom.cases}" if phantom else dataset.name,
        "subject_pattern": dataset.definition.subject_pattern,
        "summary": dataset.definition.summary,
        "licence": dataset.reader.licence if dataset.folder else dataset.definition.licence,
        "synthetic": dataset.definition.synthetic,
        "unit": dataset.unit,
        "surface_tolerance": dataset.definition.surface_tolerance,
        "channels": list(dataset.channels),
        "classes": list(dataset.classes),
        "values": list(dataset.reader.values),
        "recipe": dataset.preprocessing.model_dump(mode="json"),
    }


def _mean(values: pd.Series[float]) -> float:
    mean = float(values.mean(skipna=False))
    assert not math.isnan(mean)
    return mean
