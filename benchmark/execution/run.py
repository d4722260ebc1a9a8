"""A planned run: its specification, strategy, dataset, parent runs and expected costs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

from stampbench.benchmark.config.protocol import Protocol
from stampbench.benchmark.config.resolve import resolve_strategy
from stampbench.benchmark.config.resolved import ResolvedNetwork, ResolvedStrategy
from stampbench.benchmark.config.spec import DatasetIdentity, NetworkIdentity, RunSpec
from stampbench.benchmark.config.validated import validated
from stampbench.benchmark.environment.progress import Progress
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.execution.dry_run import DryRunTrainer, dry_run, trained_elsewhere
from stampbench.benchmark.execution.network_fit import check_fit
from stampbench.datasets.dataset import Dataset
from stampbench.datasets.preparation.prepared_case import PreparedCase
from stampbench.datasets.split import Split
from stampbench.models.errors import ModelError
from stampbench.models.model import Architecture, Model
from stampbench.models.weights.trained_weights import load_trained
from stampbench.strategies.base import Parent
from stampbench.strategies.errors import StrategyError


class Run(NamedTuple):
    """Everything that executing a run needs.

    Attributes:
        spec: the specification.
        resolved: the strategy and its defaults.
        dataset: the opened dataset.
        split: the images of its fold.
        architecture: where the strategy starts.
        parents: the runs it builds on, by the strategy's names for them.
        expected: epochs and ranking passes, at most.
        trained: networks with trained weights of the user, by the names of the parent runs that they replace.
    """

    spec: RunSpec
    resolved: ResolvedStrategy
    dataset: Dataset
    split: Split
    architecture: Architecture
    parents: Mapping[str, Run]
    expected: DryRunTrainer
    trained: Mapping[str, Model] = {}

    @property
    def title(self) -> str:
        """The run in words: dataset, training size and set, fold, seed and strategy."""
        spec = self.spec
        drawn = f" set {spec.training_set}" if spec.training_set else ""
        return f"{self.dataset.name} n={spec.n_train}{drawn} fold {spec.fold} seed {spec.seed} {self.label}"

    @property
    def label(self) -> str:
        """The strategy's name in tables."""
        network = self.resolved.network
        return self.spec.label(self.resolved.defaults, None if network is None else network.defaults)


class Draw(NamedTuple):
    """What distinguishes repetitions of one strategy: training images (None: all), fold, seed and training set."""

    n_train: int | None
    fold: int
    seed: int
    training_set: int = 0


def plan_run(
    resolved: ResolvedStrategy,
    dataset: Dataset,
    protocol: Protocol,
    draw: Draw,
    needed_by: tuple[str, ...] = (),
) -> Run:
    """Plan a run and its parent runs, without reading an image.

    Args:
        resolved: the strategy.
        dataset: the opened dataset.
        protocol: the protocol.
        draw: training size and set, fold and seed.
        needed_by: strategies whose runs build on this one.

    Raises:
        DatasetError: when the dataset does not allow the split.
        UserError: when the network does not fit the images or the strategy, or parent runs need each other.
        ModelError: when the network cannot be built, or its filters cannot be removed correctly.
        StrategyError: when the strategy fails.
    """
    resolved = _planned(resolved, dataset)
    images = dataset.split(draw.n_train, draw.fold, protocol.folds, draw.training_set, protocol.split)
    resolved = resolved.sized(dataset.spatial_dims, len(dataset.channels), len(dataset.classes))
    architecture, named_parents = _start(resolved, dataset)
    check_fit(resolved, dataset, architecture, len(images.training) * dataset.tiles, protocol)
    trained = _trained(resolved, dataset, architecture)
    if resolved.name in needed_by:
        cycle = " → ".join((*needed_by, resolved.name))
        raise UserError(f"strategy '{resolved.name}' builds on itself: {cycle}")
    parents = {
        name: plan_run(
            resolve_strategy(parent.strategy, protocol, parent.hyperparameters).on(resolved.network),
            dataset,
            protocol,
            draw if parent.seed is None else draw._replace(seed=parent.seed),
            (*needed_by, resolved.name),
        )
        for name, parent in named_parents.items()
        if name not in trained
    }
    network = resolved.network
    codes = (resolved.code, None if network is None else network.code)
    values = {
        "strategy": resolved.name,
        "network": None if network is None else _network_identity(network),
        "hyperparameters": resolved.strategy.model_dump(mode="json"),
        "dataset": _identity(dataset),
        **draw._asdict(),
        "n_train": len(images.training) + len(images.validation),
        "protocol": protocol,
        "weights": None if resolved.weights is None else resolved.weights.sha256,
        "code": ", ".join(each for each in codes if each) or None,
        "parents": {name: each.spec.id for name, each in parents.items()},
    }
    spec = validated(RunSpec, f"run of {resolved.name}", values)
    finished = {name: each.expected for name, each in parents.items()}
    finished |= {name: trained_elsewhere(model.architecture, protocol) for name, model in trained.items()}
    expected = dry_run(resolved.strategy, architecture, protocol, finished)
    return Run(spec, resolved, dataset, images, architecture, parents, expected, trained)


def with_parents(runs: Sequence[Run]) -> list[Run]:
    """Return these runs and all that they build on, each once, parents first."""
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
    """Prepare the cases that these runs of one dataset need; return them by id.

    Raises:
        DatasetError: when a case is not usable.
    """
    needed = {case for run in runs for case in run.split.test}
    needed |= {image.case for run in runs for image in (*run.split.training, *run.split.validation)}
    return runs[0].dataset.prepare(needed, lambda done, total: progress.case(done, total, "preparing"))


def _identity(dataset: Dataset) -> DatasetIdentity:
    values = {
        "name": dataset.name,
        "version": dataset.definition.version,
        "checksum": dataset.checksum,
        "spatial_dims": dataset.spatial_dims,
        "size": dataset.size,
        "patch": dataset.patch,
        "fit": dataset.preprocessing.fit,
        "clip_range": dataset.preprocessing.clip_range,
        "crop": dataset.preprocessing.crop,
        "split_version": dataset.definition.split_version,
    }
    return validated(DatasetIdentity, f"dataset '{dataset.name}'", values)


def _network_identity(network: ResolvedNetwork) -> NetworkIdentity:
    return NetworkIdentity(name=network.name, hyperparameters=network.network.model_dump(mode="json"))


def _planned(resolved: ResolvedStrategy, dataset: Dataset) -> ResolvedStrategy:
    """Return the strategy on a network whose hyperparameters fit the dataset."""
    if resolved.network is None:
        return resolved
    try:
        return resolved._replace(network=resolved.network.planned(dataset.seen, dataset.spacing))
    except ModelError:
        raise
    except Exception as error:  # a plug-in may fail in any way
        raise ModelError(f"network '{resolved.network.name}': {type(error).__name__}: {error}") from error


def _trained(resolved: ResolvedStrategy, dataset: Dataset, architecture: Architecture) -> Mapping[str, Model]:
    """Return the network with the user's trained weights, by the name of the parent run that it replaces."""
    name = resolved.strategy.trained_parent()
    if resolved.weights is None or name is None:
        return {}
    weights = resolved.weights
    return {name: _loaded(weights.file, weights.sha256, architecture, dataset.pictures)}


@lru_cache(maxsize=1)
def _loaded(file: Path, _sha256: str, architecture: Architecture, pictures: bool) -> Model:
    return load_trained(file, architecture, pictures=pictures)


def _start(resolved: ResolvedStrategy, dataset: Dataset) -> tuple[Architecture, Mapping[str, Parent]]:
    """Return where a strategy starts and what it builds on."""
    try:
        strategy = resolved.strategy
        architecture = resolved.architecture(dataset.spatial_dims, len(dataset.channels), len(dataset.classes))
        if not isinstance(architecture, Architecture):
            raise TypeError(f"start returned {type(architecture).__name__}, not an architecture")
        return architecture, strategy.parents()
    except ModelError:
        raise
    except Exception as error:  # a plug-in may fail in any way
        raise StrategyError(f"strategy '{resolved.name}': {type(error).__name__}: {error}") from error
