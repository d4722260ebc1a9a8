"""From a spec to a record."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pandas as pd
import torch

from stampbench.benchmark.allocator import keep_heap
from stampbench.benchmark.choices import Choice
from stampbench.benchmark.cost import count
from stampbench.benchmark.data import load_fold
from stampbench.benchmark.environment import environment, provenance
from stampbench.benchmark.errors import TrainingFailedError, UserError
from stampbench.benchmark.evaluation import evaluate
from stampbench.benchmark.plan import Planner, plan
from stampbench.benchmark.progress import Progress
from stampbench.benchmark.protocol import Protocol
from stampbench.benchmark.resume import ResumeFile
from stampbench.benchmark.spec import DatasetIdentity, RunSpec
from stampbench.benchmark.store import RunFolder, RunStore
from stampbench.benchmark.trainer import RunTrainer
from stampbench.datasets.dataset import Dataset
from stampbench.datasets.prepare import PreparedCase
from stampbench.datasets.split import Split, split
from stampbench.models.architecture import UNetArchitecture
from stampbench.models.files import save_model

_PRUNED_COLUMNS = ["step", "layer", "filter", "score"]


class Run(NamedTuple):
    """A run that can be started: what it is, its strategy, its data, and what it will take at most."""

    spec: RunSpec
    choice: Choice
    dataset: Dataset
    split: Split
    architecture: UNetArchitecture
    plan: Planner

    @property
    def title(self) -> str:
        label = self.spec.label(self.choice.defaults)
        return f"{self.dataset.name} n={self.spec.n_train} fold {self.spec.fold} seed {self.spec.seed} {label}"


def plan_run(choice: Choice, dataset: Dataset, protocol: Protocol, *, n_train: int | None, fold: int, seed: int) -> Run:
    """Work out a run without touching an image.

    Raises:
        DatasetError: a split that the dataset does not allow.
        UserError: a network that does not fit the image size.
    """
    images = split(dataset.definition, dataset.images, n_train, fold, protocol.folds)
    architecture = choice.strategy.start(dataset.spatial_dims, len(dataset.channels), len(dataset.classes))
    if bad := [edge for edge in dataset.size if edge % architecture.divisor]:
        raise UserError(
            f"strategy '{choice.name}': depth {choice.strategy.depth} needs sizes that are multiples of "
            f"{architecture.divisor}, but {dataset.name} has {bad[0]}"
        )
    bottleneck = math.prod(edge // architecture.divisor for edge in dataset.size)
    if bottleneck == 1 and len(images.training) % protocol.batch_size == 1:
        raise UserError(
            f"{dataset.name}: {len(images.training)} training images leave a last batch of one image, and depth "
            f"{choice.strategy.depth} shrinks it to one voxel, too few for BatchNorm; "
            "change --protocol-set batch_size or --set depth"
        )
    spec = RunSpec(
        strategy=choice.name,
        hyperparameters=choice.strategy.model_dump(mode="json"),
        dataset=DatasetIdentity(
            name=dataset.name,
            version=dataset.definition.version,
            checksum=dataset.checksum,
            spatial_dims=dataset.spatial_dims,
            size=dataset.size,
        ),
        n_train=len(images.training) + len(images.validation),
        fold=fold,
        seed=seed,
        protocol=protocol,
    )
    return Run(spec, choice, dataset, images, architecture, plan(choice.strategy, architecture, protocol))


def prepare(runs: list[Run], cache: Path, progress: Progress) -> Mapping[str, PreparedCase]:
    """Prepare the cases that these runs of one dataset need."""
    needed = {case for run in runs for case in run.split.test}
    needed |= {image.case for run in runs for image in (*run.split.training, *run.split.validation)}
    return runs[0].dataset.prepare(needed, cache, lambda done, of: progress.case(done, of, "preparing"))


def execute(
    run: Run,
    prepared: Mapping[str, PreparedCase],
    store: RunStore,
    device: torch.device,
    progress: Progress,
    *,
    force: bool = False,
) -> dict[str, Any]:
    """Train, select, evaluate and record; an unfinished run goes on where it was. Returns the summary.

    Raises:
        TrainingFailedError: the run cannot go on; it is recorded as failed, with the reason.
        UserError: the store cannot be written, or a resume state is damaged.
    """
    keep_heap()
    described = {
        "label": run.spec.label(run.choice.defaults),
        "protocol_label": run.spec.protocol_label,
        "dataset": _describe(run.dataset),
        "environment": environment(device),
        "provenance": provenance(),
    }
    folder = store.begin(run.spec, described, force=force)
    try:
        return _execute(run, prepared, folder, device, progress)
    except (TrainingFailedError, torch.OutOfMemoryError, MemoryError) as error:
        reason = " ".join(str(error).split()) or "out of memory"
        folder.fail(reason)
        raise TrainingFailedError(reason) from error


def _execute(
    run: Run,
    prepared: Mapping[str, PreparedCase],
    folder: RunFolder,
    device: torch.device,
    progress: Progress,
) -> dict[str, Any]:
    data = load_fold(run.split, prepared, run.dataset.classes, device)
    trainer = RunTrainer(run.spec, run.architecture, data, device, progress, ResumeFile(folder.resume))
    try:
        run.choice.strategy.fit(trainer)
    except KeyboardInterrupt:
        trainer.save()
        raise
    model = trainer.selected_model()
    test = [prepared[case] for case in run.split.test]
    rows = evaluate(model, test, run.dataset.classes, device, lambda done, of: progress.case(done, of, "testing"))
    folder.write_table("trajectory.csv", trainer.trajectory)
    folder.write_table("pruned.csv", trainer.pruned, _PRUNED_COLUMNS)
    folder.write_table("cases.csv", rows)
    save_model(model.cpu(), folder.model)
    summary = _summary(trainer, rows, run.dataset.size)
    folder.finish(summary)
    return summary


def _summary(trainer: RunTrainer, rows: list[dict[str, Any]], size: tuple[int, ...]) -> dict[str, Any]:
    assert trainer.selected is not None
    chosen = trainer.trajectory[trainer.selected.step]
    cost = count(UNetArchitecture.model_validate_json(trainer.selected.architecture), size)
    cases = pd.DataFrame(rows)
    return {
        "test_dice": _mean(cases["dice"]),
        "test_hd95": _mean(cases["hd95"]),
        "test_empty": int((cases["empty"].isin(["reference", "prediction"])).sum()),
        "validation_dice": chosen["validation_dice"],
        "selected_step": trainer.selected.step,
        "selected_epoch": chosen["epoch"],
        "vanished": chosen["vanished"],
        "parameters": cost.parameters,
        "macs": cost.macs,
        "flops": cost.flops,
        "epochs": trainer.epochs,
        "ranking_passes": trainer.ranking_passes,
        "training_seconds": round(trainer.seconds, 3),
    }


def _describe(dataset: Dataset) -> dict[str, Any]:
    return {
        "summary": dataset.definition.summary,
        "licence": dataset.source.licence if dataset.folder else dataset.definition.licence,
        "synthetic": dataset.definition.synthetic,
        "unit": dataset.unit,
        "channels": list(dataset.channels),
        "classes": list(dataset.classes),
    }


def _mean(values: pd.Series[float]) -> float:
    mean = float(values.mean(skipna=False))
    assert not math.isnan(mean)
    return mean
