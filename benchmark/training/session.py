"""Model, optimiser, losses and scores of one training, and the operations that the trainer asks for."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from stampbench.benchmark.config.spec import RunSpec
from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.environment.progress import Progress
from stampbench.benchmark.errors import TrainingFailedError, UserError
from stampbench.benchmark.inference.low_precision import LowPrecision
from stampbench.benchmark.measure.savings import FilterSavings
from stampbench.benchmark.measure.trajectory_rows import Epoch
from stampbench.benchmark.training.augmentation import augmentation
from stampbench.benchmark.training.charges import Charges
from stampbench.benchmark.training.cuda_graphs import make_recorder
from stampbench.benchmark.training.fold_data import FoldData
from stampbench.benchmark.training.layout import lay_out_moments, lay_out_weights, training_layout
from stampbench.benchmark.training.optimiser import carry_moments, decay_learning_rate, new_optimiser
from stampbench.benchmark.training.parent import FinishedParent, Teacher
from stampbench.benchmark.training.recorded_step import RecordedStep
from stampbench.benchmark.training.regularisation import Regularisation
from stampbench.benchmark.training.resume import detached
from stampbench.benchmark.training.sampling import Sampler
from stampbench.benchmark.training.train_epoch import train_epoch
from stampbench.benchmark.training.training_loss import TrainingLoss
from stampbench.benchmark.training.training_step import TrainingStep, step_settings
from stampbench.benchmark.training.validation import ValidationScore
from stampbench.benchmark.training.validator import Validator
from stampbench.benchmark.training.weight_average import WeightAverage
from stampbench.models.architecture import Filter, UNetArchitecture
from stampbench.models.model import Architecture, Model, build, parameter_count, parse_architecture
from stampbench.models.pocketnet import PocketNet
from stampbench.models.pruning import remove_filters
from stampbench.models.tracing.traced import TracedModel
from stampbench.models.unet import UNet
from stampbench.models.weights.initialisation import INITIALISATIONS
from stampbench.strategies.importance import IMPORTANCES, ImportanceInputs, Scores, gather_norms
from stampbench.strategies.width_at_init import input_sensitivity


class TrainingSession:
    """A network in training, its data and its charges.

    Attributes:
        model: the network.
        optimiser: the protocol's optimiser.
        charges: costs so far.
        loss: the training loss.
        validator: scores the network; it knows in which precision.
        average: average of the weights, which is what is validated and kept, if the strategy asked for one.
        training_loss: mean loss of the last epoch; NaN before the first.
        epochs: a row per epoch of the run itself.
    """

    def __init__(
        self,
        spec: RunSpec,
        architecture: Architecture,
        data: FoldData,
        compute: ComputeSettings,
        progress: Progress,
        parents: Mapping[str, FinishedParent],
    ) -> None:
        self.protocol, self.data, self.compute, self.parents = spec.training_protocol, data, compute, parents
        self.device = compute.torch_device
        self.charges = Charges()
        self.training_loss = math.nan
        self.epochs: list[Epoch] = []
        self.loss = TrainingLoss(self.protocol, self.device, parents)
        self.average = WeightAverage()
        self._progress = progress
        self._score_seed = spec.stream("score")
        self._validation: ValidationScore | None = None
        self._gathered: Scores | None = None
        self._savings = FilterSavings(data.size, self.device)
        self._age = 0  # epochs since the weights were initialised
        self._kept: tuple[str, dict[str, Tensor]] | None = None
        self._order = torch.Generator().manual_seed(spec.stream("order"))
        augment = augmentation(self.protocol.augmentation, len(data.size), data.mirror)
        self._sampler = Sampler(data, self.protocol.batch_size, augment)
        self.validator = Validator(data, self.loss.of_labels, self.protocol.batch_size)
        self._scaler = torch.amp.GradScaler(self.device.type) if self.protocol.precision == "fp16" else None
        self._recorder = make_recorder(compute, self.protocol.precision)
        torch.manual_seed(spec.stream("initialisation"))
        self.model = self._initialised(architecture)
        torch.manual_seed(spec.stream("dropout"))
        self._renew()

    def train_epoch(self) -> float:
        """Train one epoch, charge it, and return its mean loss.

        Raises:
            TrainingFailedError: when the loss is not finite.
        """
        self.model.train()
        self._validation = self._gathered = None
        decay_learning_rate(self.optimiser, self.protocol, self._age)
        self._age += 1
        self.training_loss = train_epoch(self._step, self._sampler.shuffled(self._order))
        if self._step.failure and self._recorder is not None:
            self._recorder = None
            self._progress.warn(f"slower, because steps cannot be recorded as CUDA graphs: {self._step.failure}")
        self.average.update(self.model)
        charges = self.charges
        charges.epochs += 1
        if not math.isfinite(self.training_loss):
            raise TrainingFailedError(f"training loss is {self.training_loss} in epoch {charges.epochs}")
        parameters = parameter_count(self.model.architecture)
        self.epochs.append(Epoch(epoch=charges.epochs, parameters=parameters, training_loss=self.training_loss))
        self._progress.epoch(charges.epochs - charges.parent_epochs, "training", parameters)
        return self.training_loss

    def train_epoch_gathering_norms(self) -> float:
        """Train one epoch and keep the mean L2 norms of its ReLU outputs, for the importance `l2_gathered`."""
        if not isinstance(self.model, UNet):
            raise TrainingFailedError("importance 'l2_gathered' is known for the U-Net only; choose another importance")
        with gather_norms(self.model) as norms, self._step.executed():
            loss = self.train_epoch()
        self._gathered = {name: torch.cat(each).cpu().double().mean(0).tolist() for name, each in norms.items()}
        return loss

    def validation_score(self) -> ValidationScore:
        """Return the scores of the network as it is, computed once."""
        if self._validation is None:
            with self.average.applied(self.model):
                self._validation = self.validator.score(self.model)
            self._progress.validated(self._validation.mean_dice)
            if self.epochs and self.epochs[-1].epoch == self.charges.epochs:
                self.epochs[-1] = self.epochs[-1].model_copy(update={"validation_loss": self._validation.loss})
        return self._validation

    def validate(self) -> list[float]:
        """Return validation loss and mean Dice, and step the plateau schedule."""
        score = self.validation_score()
        if self._plateau is not None:
            self._plateau.step(score.loss)
        return [score.loss, score.mean_dice]

    def score(self, importance: str, call: int) -> Scores:
        """Score every prunable filter; `call` is the number of this call in the journal and seeds random scores."""
        chosen = IMPORTANCES[importance]
        batches = ((pixels.to(self.device), labels.to(self.device)) for pixels, labels in self._sampler.in_order())
        assert not isinstance(self.model, PocketNet)
        # Not the strategy's generator, which draws again in a replay, where nothing is scored again.
        rng = np.random.default_rng([self._score_seed, call])
        scores = chosen.score(ImportanceInputs(self.model, batches, self.loss.of_labels, rng, self._gathered))
        self.charges.ranking_passes += chosen.passes
        return scores

    def savings(self, cost: str) -> dict[str, float]:
        """Return what one filter of each layer saves."""
        return self._savings.of(self.model.architecture, cost)

    def input_sensitivity(self) -> float:
        """Return how strongly the logits depend on training images, a pass that is charged."""
        self.charges.ranking_passes += 1
        return input_sensitivity(self.model, (pixels.to(self.device) for pixels, _ in self._sampler.in_order()))

    def prune(self, filters: Sequence[Filter], optimiser: str) -> None:
        """Remove filters; `optimiser` is `new` or `carry`."""
        assert not isinstance(self.model, PocketNet)
        cuts = remove_filters(self.model, filters)
        old = self.optimiser
        self._renew()
        if optimiser == "carry":
            carry_moments(old, self.optimiser, self.model, cuts)

    def keep(self) -> None:
        """Keep a copy of architecture and weights."""
        with self.average.applied(self.model):
            self._kept = (self.model.architecture.model_dump_json(), detached(self.model.state_dict()))

    def restore(self) -> None:
        """Go back to the kept architecture and weights.

        Raises:
            TrainingFailedError: when nothing was kept.
        """
        if self._kept is None:
            raise TrainingFailedError("the strategy restores weights that it did not keep")
        self._rebuild(*self._kept, self.model.dropout_probabilities())

    def reset(self, architecture: Architecture) -> None:
        """Start over with freshly initialised weights of an architecture."""
        self.model = self._initialised(architecture)
        self._age = 0
        self._renew()

    def adopt(self, name: str) -> None:
        """Continue from a parent run's selected network."""
        self.charge(name)
        model, current = self.parents[name].model, self.model.architecture
        architecture = model.architecture
        if isinstance(architecture, UNetArchitecture) and isinstance(current, UNetArchitecture):
            architecture = architecture.model_copy(update={"prune_upconvs": current.prune_upconvs})
        self._rebuild(architecture.model_dump_json(), model.state_dict(), self.model.dropout_probabilities())

    def distill(self, name: str, weight: float, temperature: float) -> None:
        """Distill a parent run's selected network from now on."""
        self.charge(name)
        self.loss.teacher = Teacher(name, weight, temperature)

    def regularise(self, name: str, weight: float) -> None:
        """Add a term to the loss from now on."""
        self.loss.regularisation = Regularisation(name, weight)

    def compute_in(self, precision: LowPrecision) -> None:
        """Validate and test in a low precision from now on."""
        self.validator.precision, self._validation = precision, None

    def charge(self, name: str) -> None:
        """Charge a parent run, once."""
        self.charges.charge_parent(name, self.parents[name])

    def built(self, architecture: Architecture) -> Model:
        """Return a network of an architecture with these compute settings."""
        model = build(architecture, self.compute.kernels)
        if self.compute.save_memory and isinstance(model, TracedModel):
            raise UserError(f"network '{model.architecture.name}': trains without saving memory", setting="save_memory")
        model.save_memory = self.compute.save_memory
        return model

    def state(self) -> dict[str, Any]:
        """Return everything the next operation depends on, as copies that training does not change."""
        return {
            "model": detached(self.model.state_dict()),
            "architecture": self.model.architecture.model_dump_json(),
            "dropout": self.model.dropout_probabilities(),
            "optimiser": detached(self.optimiser.state_dict()),
            "plateau": None if self._plateau is None else detached(self._plateau.state_dict()),
            **self.loss.state(),
            "average": self.average.saved(),
            "precision": self.validator.precision,
            "rng": torch.get_rng_state(),
            "cuda_rng": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None,
            "order": self._order.get_state(),
            "age": self._age,
            "kept": self._kept,
            "charges": self.charges.state(),
            "training_loss": self.training_loss,
            "epochs": list(self.epochs),
            "gathered": self._gathered,
            "layer_latency": self._savings.saved(),
            "scaler": None if self._scaler is None else self._scaler.state_dict(),
        }

    def load(self, state: dict[str, Any]) -> None:
        """Continue from what `state` returned."""
        self._rebuild(state["architecture"], state["model"], state["dropout"])
        self.optimiser.load_state_dict(state["optimiser"])
        lay_out_moments(self.optimiser)  # those of another device or an older version may have another one
        if self._plateau is not None:
            self._plateau.load_state_dict(state["plateau"])
        self.loss.load(state)
        self.average = WeightAverage(*state.get("average", ()))  # states of older versions have none
        self.validator.precision = state.get("precision")  # states of older versions have none
        torch.set_rng_state(state["rng"])
        if self.device.type == "cuda" and state["cuda_rng"] is not None:
            torch.cuda.set_rng_state(state["cuda_rng"], self.device)
        self._order.set_state(state["order"])
        self._age = state.get("age", 0)  # states of older versions have none
        self._kept = state["kept"]
        self.charges = Charges.restored(state["charges"])
        self.training_loss, self._gathered = state["training_loss"], state["gathered"]
        self.epochs = [Epoch.model_validate(each) for each in state["epochs"]]
        self._savings = FilterSavings(self.data.size, self.device, state.get("layer_latency"))
        if self._scaler is not None:
            self._scaler.load_state_dict(state["scaler"])

    def _initialised(self, architecture: Architecture) -> Model:
        model = self.built(architecture)
        INITIALISATIONS[self.protocol.initialisation](model)
        return model.to(self.device)

    def _rebuild(self, architecture: str, weights: dict[str, Tensor], dropout: Mapping[str, float]) -> None:
        self.model = self.built(parse_architecture(architecture)).to(self.device)
        self.model.load_state_dict(weights)
        self.model.set_dropout(dropout)
        self._renew()

    def _renew(self) -> None:
        """Renew what belongs to one network: optimiser, schedule, step, average, validation and gathered norms."""
        self.average.restart()
        lay_out_weights(self.model, training_layout(self.compute, self.protocol.precision, len(self.data.size)))
        self.optimiser, self._plateau = new_optimiser(self.model, self.protocol, fused=self.compute.kernels == "fast")
        batch_loss = partial(self.loss.of_batch, self.model)
        step = TrainingStep(self.optimiser, batch_loss, self._scaler, self.protocol.gradient_norm)
        settings = partial(step_settings, self.optimiser, self.model, self.loss)
        self._step = RecordedStep(step, self._recorder, self._sampler.full_batch, settings)
        self._validation = self._gathered = None
