"""One network in training: what strategies ask for, done, charged and recorded.

Every finished call of a strategy is an entry in the journal. To resume, the strategy is run again; calls
that the journal holds return what they returned then, and the first call beyond it meets weights,
optimiser and random states as they were. So a strategy needs no code for resuming, and an interrupted
run ends bit for bit like an uninterrupted one (CPU, same number of threads).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Literal, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from stampbench.benchmark.config.spec import RunSpec
from stampbench.benchmark.environment.compute_settings import HALF, Compute
from stampbench.benchmark.environment.progress import Progress
from stampbench.benchmark.errors import TrainingFailedError, UserError
from stampbench.benchmark.execution.parents import FinishedParent
from stampbench.benchmark.measure.complexity import count
from stampbench.benchmark.measure.energy import joules
from stampbench.benchmark.training.augmentation import augmentation
from stampbench.benchmark.training.fold_data import FoldData
from stampbench.benchmark.training.losses import distillation_loss, make_loss
from stampbench.benchmark.training.optimiser import carry_moments, new_optimiser
from stampbench.benchmark.training.resume import ResumeFile, detached
from stampbench.benchmark.training.sampling import Sampler
from stampbench.benchmark.training.train_epoch import train_epoch
from stampbench.benchmark.training.validation import Scored, validate
from stampbench.models.architecture import Filter, UNetArchitecture
from stampbench.models.initialisation import INITIALISATIONS
from stampbench.models.network import Architecture, Network, build, parameter_count, parse_architecture
from stampbench.models.pruning import remove_filters
from stampbench.models.unet import UNet
from stampbench.strategies.base import ParentRun, Validation
from stampbench.strategies.importance import IMPORTANCES, ImportanceInputs, Scores, gather_norms

_T = TypeVar("_T")


class Selected(NamedTuple):
    """The checkpoint with the best validation Dice so far."""

    step: int
    architecture: str
    weights: dict[str, Tensor]


class Teacher(NamedTuple):
    """A network to learn from, and how much."""

    parent: str
    weight: float
    temperature: float


class RunTrainer:
    """Implements `stampbench.strategies.base.Trainer` for one run."""

    def __init__(
        self,
        spec: RunSpec,
        architecture: Architecture,
        data: FoldData,
        compute: Compute,
        progress: Progress,
        resume: ResumeFile,
        parents: Mapping[str, FinishedParent] | None = None,
    ) -> None:
        self.protocol, self.data = spec.protocol, data
        self.compute, self.device = compute, compute.device
        self.rng = np.random.default_rng(spec.stream("strategy"))
        self._score_seed = spec.stream("score")
        self.patience, self.finetune_patience = spec.protocol.patience, spec.protocol.finetune_patience
        self.max_epochs = spec.protocol.max_epochs
        self.trajectory: list[dict[str, Any]] = []
        self.pruned: list[dict[str, Any]] = []
        self.selected: Selected | None = None
        self.epochs = 0
        self.parent_epochs = 0
        self.ranking_passes = 0
        self.seconds = 0.0
        self.joules: float | None = None
        self._progress, self._resume = progress, resume
        self._parents: Mapping[str, FinishedParent] = parents or {}
        self._charged: list[str] = []
        self._teacher: Teacher | None = None
        self._journal: list[tuple[str, Any]] = []
        self._replayed = 0
        self._written = time.monotonic()
        self._training_loss = math.nan
        self._scored: Scored | None = None
        self._gathered: Scores | None = None
        self._kept: tuple[str, dict[str, Tensor]] | None = None
        self._order = torch.Generator().manual_seed(spec.stream("order"))
        augment = augmentation(spec.protocol.augmentation, len(data.size), data.mirror)
        self._sampler = Sampler(data, spec.protocol.batch_size, augment)
        self._loss = make_loss(spec.protocol.loss)
        self._scaler = torch.amp.GradScaler(self.device.type) if spec.protocol.precision == "fp16" else None
        torch.manual_seed(spec.stream("initialisation"))
        self.model = self._initialised(architecture)
        torch.manual_seed(spec.stream("dropout"))
        self._renew()
        self._architecture = architecture
        self._snapshot = self._state()
        if state := resume.read(progress.say):
            self._load(state)

    # What a strategy sees

    @property
    def architecture(self) -> Architecture:
        return self._architecture

    def train(self, epochs: int, *, gather: bool = False) -> None:
        for epoch in range(1, epochs + 1):
            self._once("train", self._gathering_epoch if gather and epoch == epochs else self._epoch)

    def validate(self) -> Validation:
        return Validation(*self._once("validate", self._validate))

    def score(self, importance: str) -> Scores:
        return self._once("score", lambda: self._score(importance))

    def prune(self, filters: Iterable[Filter], optimiser: Literal["new", "carry"] = "new") -> None:
        chosen = list(filters)
        self._rebuilt("prune", lambda: self._prune(chosen, optimiser))

    def set_dropout(self, probabilities: Mapping[str, float]) -> None:
        self._once("set_dropout", lambda: self.model.set_dropout(probabilities))

    def keep(self) -> None:
        self._once("keep", self._keep)

    def restore(self) -> None:
        self._rebuilt("restore", self._restore)

    def checkpoint(self, *, candidate: bool = True) -> None:
        self._once("checkpoint", lambda: self._checkpoint(candidate))

    def reset(self, architecture: Architecture) -> None:
        self._rebuilt("reset", lambda: self._reset(architecture))

    def parent(self, name: str) -> ParentRun:
        self._once("parent", lambda: self._charge(name))
        return self._parents[name].run

    def adopt(self, name: str) -> None:
        self._rebuilt("adopt", lambda: self._adopt(name))

    def distill(self, name: str, weight: float, temperature: float) -> None:
        self._once("distill", lambda: self._distill(name, weight, temperature))

    # What the runner sees

    @property
    def replaying(self) -> bool:
        """Whether the next call is one that an earlier process finished."""
        return self._replayed < len(self._journal)

    def save(self) -> None:
        """Write the state after the last finished call."""
        self._resume.write(self._snapshot)
        self._written = time.monotonic()

    def selected_model(self) -> Network:
        """The selected checkpoint, in evaluation mode.

        Raises:
            TrainingFailedError: the strategy made no checkpoint that is a candidate.
        """
        if self.selected is None:
            raise TrainingFailedError("the strategy ended without a checkpoint that can be selected")
        model = self._build(parse_architecture(self.selected.architecture))
        model.load_state_dict(self.selected.weights)
        return model.to(self.device).eval()

    # The journal

    def _once(self, call: str, action: Callable[[], _T]) -> _T:
        if self.replaying:
            recorded, result = self._journal[self._replayed]
            if recorded != call:
                raise UserError(f"{self._resume.path}: is of another version of the strategy; delete it to start anew")
            self._replayed += 1
            return result  # type: ignore[no-any-return]
        started, used = time.monotonic(), joules(self.device)
        result = action()
        self.seconds += time.monotonic() - started
        if used is not None and (now := joules(self.device)) is not None and now >= used:
            self.joules = (self.joules or 0.0) + now - used
        self._journal.append((call, result))
        self._replayed += 1
        self._snapshot = self._state()
        if time.monotonic() - self._written > self.compute.save_every:
            self.save()
        return result

    def _rebuilt(self, call: str, action: Callable[[], None]) -> None:
        """A call that changes the architecture, which its journal entry keeps for the replay."""

        def described() -> str:
            action()
            return self.model.architecture.model_dump_json()

        self._architecture = parse_architecture(self._once(call, described))

    def _state(self) -> dict[str, Any]:
        """Everything that the next call depends on, detached from what it will change."""
        return {
            "journal": list(self._journal),
            "model": detached(self.model.state_dict()),
            "architecture": self.model.architecture.model_dump_json(),
            "dropout": self.model.dropout_probabilities(),
            "optimiser": detached(self._optimiser.state_dict()),
            "plateau": None if self._plateau is None else detached(self._plateau.state_dict()),
            "charged": list(self._charged),
            "teacher": None if self._teacher is None else tuple(self._teacher),
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            "order": self._order.get_state(),
            "kept": self._kept,
            "selected": None if self.selected is None else tuple(self.selected),
            "trajectory": list(self.trajectory),
            "pruned": list(self.pruned),
            "epochs": self.epochs,
            "parent_epochs": self.parent_epochs,
            "ranking_passes": self.ranking_passes,
            "seconds": self.seconds,
            "training_loss": self._training_loss,
            "gathered": self._gathered,
            "kernels": self.compute.kernels,
            "scaler": None if self._scaler is None else self._scaler.state_dict(),
            "joules": self.joules,
        }

    def _load(self, state: dict[str, Any]) -> None:
        if state["kernels"] != self.compute.kernels:
            raise UserError(
                f"{self._resume.path}: was begun with --kernels {state['kernels']}; go on with these, "
                f"or start anew with --force"
            )
        self._journal = [(call, result) for call, result in state["journal"]]
        self._rebuild(state["architecture"], state["model"], state["dropout"])
        self._optimiser.load_state_dict(state["optimiser"])
        if self._plateau is not None:
            self._plateau.load_state_dict(state["plateau"])
        self._charged = state["charged"]
        self._teacher = None if state["teacher"] is None else Teacher(*state["teacher"])
        torch.set_rng_state(state["rng"])
        if self.device.type == "cuda" and state["cuda_rng"] is not None:
            torch.cuda.set_rng_state(state["cuda_rng"], self.device)
        self._order.set_state(state["order"])
        self._kept = state["kept"]
        self.selected = None if state["selected"] is None else Selected(*state["selected"])
        self.trajectory, self.pruned = state["trajectory"], state["pruned"]
        self.epochs, self.ranking_passes = state["epochs"], state["ranking_passes"]
        self.parent_epochs = state["parent_epochs"]
        self.seconds, self._training_loss = state["seconds"], state["training_loss"]
        self._gathered = state["gathered"]
        if self._scaler is not None:
            self._scaler.load_state_dict(state["scaler"])
        self.joules = state["joules"]
        self._snapshot = self._state()  # not `state` itself, whose tensors the optimiser goes on with
        self._progress.resumed(self.epochs - self.parent_epochs)

    # The work

    def _epoch(self) -> None:
        self.model.train()
        self._scored = self._gathered = None
        batches = self._sampler.shuffled(self._order)
        self._training_loss = train_epoch(self._optimiser, batches, self._batch_loss, self._scaler)
        self.epochs += 1
        if not math.isfinite(self._training_loss):
            raise TrainingFailedError(f"training loss is {self._training_loss} in epoch {self.epochs}")
        self._progress.epoch(self.epochs - self.parent_epochs, "training", parameter_count(self.model.architecture))

    def _gathering_epoch(self) -> None:
        """An epoch that leaves the mean L2 norms of its ReLU outputs behind, for `l2_gathered`."""
        assert isinstance(self.model, UNet)
        with gather_norms(self.model) as norms:
            self._epoch()
        self._gathered = {name: torch.cat(each).cpu().double().mean(0).tolist() for name, each in norms.items()}

    def _validated(self) -> Scored:
        """Scores of the network as it is, computed once."""
        if self._scored is None:
            classes, batch = len(self.data.classes), self.protocol.batch_size
            self._scored = validate(
                self.model, self.data.validation, classes, self._label_loss, batch, window=self.data.patch
            )
            self._progress.validated(self._scored.mean_dice)
        return self._scored

    def _validate(self) -> list[float]:
        scored = self._validated()
        if self._plateau is not None:
            self._plateau.step(scored.loss)
        return [scored.loss, scored.mean_dice]

    def _score(self, importance: str) -> Scores:
        chosen = IMPORTANCES[importance]
        batches = ((pixels.to(self.device), labels.to(self.device)) for pixels, labels in self._sampler.in_order())
        assert isinstance(self.model, UNet)
        # Its own generator: the strategy's is drawn from again in a replay, which does not score again.
        rng = np.random.default_rng([self._score_seed, len(self._journal)])
        scores = chosen.score(ImportanceInputs(self.model, batches, self._label_loss, rng, self._gathered))
        self.ranking_passes += chosen.passes
        return scores

    def _prune(self, filters: list[Filter], optimiser: str) -> None:
        assert isinstance(self.model, UNet)
        cuts = remove_filters(self.model, filters)
        step = len(self.trajectory)
        self.pruned += [
            {"step": step, "layer": layer, "filter": channel, "score": score} for layer, channel, score in filters
        ]
        old = self._optimiser
        self._renew()
        if optimiser == "carry":
            carry_moments(old, self._optimiser, self.model, cuts)

    def _keep(self) -> None:
        self._kept = (self.model.architecture.model_dump_json(), detached(self.model.state_dict()))

    def _restore(self) -> None:
        if self._kept is None:
            raise TrainingFailedError("the strategy restores weights that it never kept")
        self._rebuild(*self._kept, self.model.dropout_probabilities())

    def _reset(self, architecture: Architecture) -> None:
        self.model = self._initialised(architecture)
        self._renew()

    def _adopt(self, name: str) -> None:
        self._charge(name)
        model, mine = self._parents[name].model, self.model.architecture
        architecture = model.architecture
        if isinstance(architecture, UNetArchitecture) and isinstance(mine, UNetArchitecture):
            architecture = architecture.model_copy(update={"prune_upconvs": mine.prune_upconvs})
        self._rebuild(architecture.model_dump_json(), model.state_dict(), self.model.dropout_probabilities())

    def _charge(self, name: str) -> None:
        """A parent is charged in full when it is first used."""
        if name not in self._charged:
            parent = self._parents[name]
            self._charged.append(name)
            self.epochs += parent.epochs
            self.parent_epochs += parent.epochs
            self.ranking_passes += parent.ranking_passes
            self.seconds += parent.seconds
            if parent.joules is not None:
                self.joules = (self.joules or 0.0) + parent.joules

    def _distill(self, name: str, weight: float, temperature: float) -> None:
        self._charge(name)
        self._teacher = Teacher(name, weight, temperature)

    def _initialised(self, architecture: Architecture) -> Network:
        model = self._build(architecture)
        INITIALISATIONS[self.protocol.initialisation](model)
        return model.to(self.device)

    def _build(self, architecture: Architecture) -> Network:
        model = build(architecture, self.compute.kernels)
        model.save_memory = self.compute.save_memory
        return model

    def _rebuild(self, architecture: str, weights: dict[str, Tensor], dropout: Mapping[str, float]) -> None:
        self.model = self._build(parse_architecture(architecture)).to(self.device)
        self.model.load_state_dict(weights)
        self.model.set_dropout(dropout)
        self._renew()

    def _label_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        loss: Tensor = self._loss(logits, labels.long().unsqueeze(1))
        return loss

    def _batch_loss(self, pixels: Tensor, labels: Tensor) -> Tensor:
        # A training set that the device has no room for waits in main memory.
        pixels, labels = pixels.to(self.device), labels.to(self.device)
        half = HALF.get(self.protocol.precision)
        with torch.autocast(self.device.type, half, enabled=half is not None):
            logits = self.model(pixels)
        logits = logits.float()
        loss = self._label_loss(logits, labels)
        if self._teacher is None:
            return loss
        parent, weight, temperature = self._teacher
        with torch.no_grad():
            teacher = self._parents[parent].model(pixels)
        return (1 - weight) * loss + weight * distillation_loss(logits, teacher, temperature)

    def _checkpoint(self, candidate: bool) -> None:
        scored = self._validated()
        cost = count(self.model.architecture, self.data.size)
        names = self.data.classes[1:]
        self.trajectory.append(
            {
                "step": len(self.trajectory),
                "epoch": self.epochs,
                "ranking_passes": self.ranking_passes,
                "seconds": round(self.seconds, 3),
                "parameters": cost.parameters,
                "macs": cost.macs,
                "training_loss": self._training_loss,
                "validation_loss": scored.loss,
                "validation_dice": scored.mean_dice,
                "vanished": "; ".join(name for name, gone in zip(names, scored.vanished, strict=True) if gone),
                "widths": " ".join(map(str, self.model.architecture.widths)),
                "architecture": self.model.architecture.model_dump_json(),
            }
        )
        best = -1.0 if self.selected is None else self.trajectory[self.selected.step]["validation_dice"]
        if candidate and scored.mean_dice > best:
            architecture = self.model.architecture.model_dump_json()
            self.selected = Selected(len(self.trajectory) - 1, architecture, detached(self.model.state_dict()))

    def _renew(self) -> None:
        """What has to be new when the network is: the optimiser, its schedule and the scores."""
        fused = self.compute.kernels == "fast"
        self._optimiser, self._plateau = new_optimiser(self.model, self.protocol, fused=fused)
        self._scored = self._gathered = None
