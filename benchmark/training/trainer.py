"""The trainer that strategies call: calls are executed by the session, recorded in the journal, and saved."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, cast

import numpy as np

from stampbench.benchmark.config.spec import RunSpec
from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.environment.progress import Progress
from stampbench.benchmark.errors import TrainingFailedError, UserError
from stampbench.benchmark.inference.low_precision import LowPrecision
from stampbench.benchmark.measure.complexity import count_complexity
from stampbench.benchmark.measure.trajectory_rows import Checkpoint, RemovedFilter
from stampbench.benchmark.training.charges import Charges
from stampbench.benchmark.training.fold_data import FoldData
from stampbench.benchmark.training.journal import Journal
from stampbench.benchmark.training.parent import FinishedParent
from stampbench.benchmark.training.resume import ResumeFile, detached
from stampbench.benchmark.training.session import TrainingSession
from stampbench.benchmark.training.trajectory import SelectedCheckpoint
from stampbench.datasets.atomic_file import write_bytes
from stampbench.models.architecture import Filter
from stampbench.models.model import Architecture, Model, parse_architecture
from stampbench.models.weights.serialization import load_model, save_model
from stampbench.strategies.base import ParentRun, Validation
from stampbench.strategies.importance import Scores

_T = TypeVar("_T")


class RunTrainer:
    """Implements `stampbench.strategies.base.Trainer` for one run.

    Attributes:
        session: the network in training.
        trajectory: checkpoints so far.
        pruned: removed filters so far.
        selected: the candidate checkpoint with the best validation Dice so far.
    """

    def __init__(
        self,
        spec: RunSpec,
        architecture: Architecture,
        data: FoldData,
        compute: ComputeSettings,
        progress: Progress,
        resume: ResumeFile,
        parents: Mapping[str, FinishedParent] | None = None,
    ) -> None:
        protocol = spec.protocol
        self.rng = np.random.default_rng(spec.stream("strategy"))
        self.patience, self.finetune_patience = protocol.patience, protocol.finetune_patience
        self.max_epochs = protocol.max_epochs
        self.trajectory: list[Checkpoint] = []
        self.pruned: list[RemovedFilter] = []
        self.selected: SelectedCheckpoint | None = None
        self.session = TrainingSession(spec, architecture, data, compute, progress, parents or {})
        self._architecture = architecture
        self._resume, self._compute = resume, compute
        self._journal = Journal(resume.path)
        self._saved_at = time.monotonic()
        self._snapshot = self._state()
        if state := resume.read(progress.say):
            try:
                self._load(state)
            except UserError:
                raise
            except Exception as error:  # a state with a valid checksum whose content is not one of this version
                reason = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
                raise UserError(
                    f"{resume.path}: damaged resume state ({reason}); delete {resume.path.parent} to start over"
                ) from error
            progress.resumed(self.charges.epochs - self.charges.parent_epochs)

    # What a strategy sees

    @property
    def architecture(self) -> Architecture:
        return self._architecture

    def train(self, epochs: int, *, gather: bool = False) -> float:
        session, loss = self.session, math.nan
        for epoch in range(1, epochs + 1):
            gathers = gather and epoch == epochs
            loss = self._once("train", session.train_epoch_gathering_norms if gathers else session.train_epoch)
        return loss

    def validate(self) -> Validation:
        return Validation(*self._once("validate", self.session.validate))

    def score(self, importance: str) -> Scores:
        return self._once("score", lambda: self.session.score(importance, len(self._journal.entries)))

    def savings(self, cost: str) -> dict[str, float]:
        return self._once("savings", lambda: self.session.savings(cost))

    def input_sensitivity(self) -> float:
        return self._once("input_sensitivity", self.session.input_sensitivity)

    def prune(self, filters: Iterable[Filter], optimiser: Literal["new", "carry"] = "new") -> None:
        chosen = list(filters)
        self._rebuilt("prune", lambda: self._prune(chosen, optimiser))

    def set_dropout(self, probabilities: Mapping[str, float]) -> None:
        self._once("set_dropout", lambda: self.session.model.set_dropout(probabilities))

    def keep(self) -> None:
        self._once("keep", self.session.keep)

    def restore(self) -> None:
        self._rebuilt("restore", self.session.restore)

    def checkpoint(self, *, candidate: bool = True) -> None:
        self._once("checkpoint", lambda: self._checkpoint(candidate))

    def reset(self, architecture: Architecture) -> None:
        self._rebuilt("reset", lambda: self.session.reset(architecture))

    def parent(self, name: str) -> ParentRun:
        self._once("parent", lambda: self.session.charge(name))
        return self.session.parents[name].run

    def adopt(self, name: str) -> None:
        self._rebuilt("adopt", lambda: self.session.adopt(name))

    def average_weights(self, decay: float) -> None:
        def start() -> None:
            self.session.average.decay = decay

        self._once("average_weights", start)

    def distill(self, name: str, weight: float, temperature: float) -> None:
        self._once("distill", lambda: self.session.distill(name, weight, temperature))

    def compute_in(self, precision: LowPrecision) -> None:
        self._once("compute_in", lambda: self.session.compute_in(precision))

    def regularise(self, name: str, weight: float) -> None:
        self._once("regularise", lambda: self.session.regularise(name, weight))

    # What the runner sees

    @property
    def charges(self) -> Charges:
        """Costs so far."""
        return self.session.charges

    @property
    def model(self) -> Model:
        """The network as it is now."""
        return self.session.model

    @property
    def replaying(self) -> bool:
        """Whether the next call was finished by an earlier process."""
        return self._journal.replaying

    def save(self) -> None:
        """Write the state after the last finished call."""
        keys = ("trajectory", "pruned", "epochs")
        rows = {key: [each.model_dump() for each in self._snapshot[key]] for key in keys}
        self._resume.write(self._snapshot | rows)
        self._saved_at = time.monotonic()

    def checkpoint_models(self) -> Iterator[Model]:
        """Yield the network of every checkpoint, in evaluation mode, if `trajectory_test` kept them."""
        for row in self.trajectory:
            model = load_model(self._step_folder(row.step)).to(self.session.device)
            model.kernels = self._compute.kernels
            yield model

    def selected_model(self) -> Model:
        """Return the network of the selected checkpoint, in evaluation mode.

        Raises:
            TrainingFailedError: when the strategy made no candidate checkpoint.
        """
        if self.selected is None:
            raise TrainingFailedError("the strategy ended without a checkpoint that can be selected")
        model = self.session.built(parse_architecture(self.selected.architecture))
        model.load_state_dict(self.selected.weights)
        return model.to(self.session.device).eval()

    # The journal

    def _once(self, call: str, action: Callable[[], _T]) -> _T:
        """Execute a call, or return what it returned in an earlier process."""
        if self.replaying:
            return cast(_T, self._journal.replay(call))
        with self.charges.measured(self.session.device):
            result = action()
        self._journal.append(call, result)
        self._snapshot = self._state()
        if time.monotonic() - self._saved_at > self._compute.save_every:
            self.save()
        return result

    def _rebuilt(self, call: str, action: Callable[[], None]) -> None:
        """Execute a call that changes the architecture, which the journal keeps for the replay."""

        def described() -> str:
            action()
            return self.model.architecture.model_dump_json()

        self._architecture = parse_architecture(self._once(call, described))

    def _state(self) -> dict[str, Any]:
        return {
            **self.session.state(),
            "journal": list(self._journal.entries),
            "selected": None if self.selected is None else tuple(self.selected),
            "trajectory": list(self.trajectory),
            "pruned": list(self.pruned),
            "kernels": self._compute.kernels,
        }

    def _load(self, state: dict[str, Any]) -> None:
        if state["kernels"] != self._compute.kernels:
            raise UserError(
                f"{self._resume.path}: saved with {state['kernels']} kernels; resume with these, or start over",
                setting="kernels",
            )
        steps = range(len(state["trajectory"]))
        if self._compute.trajectory_test and not all(self._step_folder(step).is_dir() for step in steps):
            raise UserError(
                f"{self._resume.path}: saved without trajectory_test, so that earlier networks are gone; resume "
                "without it, or start over",
                setting="trajectory_test",
            )
        self._journal = Journal(self._resume.path, [(call, result) for call, result in state["journal"]])
        self.session.load(state)
        self.selected = None if state["selected"] is None else SelectedCheckpoint(*state["selected"])
        self.trajectory = [Checkpoint.model_validate(each) for each in state["trajectory"]]
        self.pruned = [RemovedFilter.model_validate(each) for each in state["pruned"]]
        self._snapshot = self._state()  # not `state` itself, whose tensors the optimiser changes

    def _step_folder(self, step: int) -> Path:
        return self._resume.path.parent / "steps" / str(step)

    # Rows of the record

    def _prune(self, filters: list[Filter], optimiser: str) -> None:
        self.session.prune(filters, optimiser)
        step = len(self.trajectory)
        self.pruned += [
            RemovedFilter(step=step, layer=layer, filter=channel, score=score) for layer, channel, score in filters
        ]

    def _checkpoint(self, candidate: bool) -> None:
        score, session = self.session.validation_score(), self.session
        architecture = self.model.architecture
        complexity = count_complexity(architecture, session.data.size)
        names = session.data.classes[1:]
        self.trajectory.append(
            Checkpoint(
                step=len(self.trajectory),
                epoch=self.charges.epochs,
                ranking_passes=self.charges.ranking_passes,
                seconds=round(self.charges.seconds, 3),
                parameters=complexity.parameters,
                macs=complexity.macs,
                training_loss=session.training_loss,
                validation_loss=score.loss,
                validation_dice=score.mean_dice,
                vanished="; ".join(name for name, gone in zip(names, score.vanished, strict=True) if gone),
                dropout=_mean_dropout(self.model),
                widths=" ".join(map(str, architecture.widths)),
                architecture=architecture.model_dump_json(),
            )
        )
        best = -1.0 if self.selected is None else self.trajectory[self.selected.step].validation_dice
        step = len(self.trajectory) - 1
        with session.average.applied(self.model):
            if self._compute.trajectory_test:
                save_model(self.model, self._step_folder(step), write_bytes)
            if candidate and score.mean_dice > best:
                weights = detached(self.model.state_dict())
                self.selected = SelectedCheckpoint(step, architecture.model_dump_json(), weights)


def _mean_dropout(model: Model) -> float | None:
    """Return the mean probability of channelwise dropout over the layers; None: no layer has any."""
    probabilities = model.dropout_probabilities()
    return sum(probabilities.values()) / len(probabilities) if probabilities else None
