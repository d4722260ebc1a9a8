"""Pruning in a training loop of one's own: STAMP+ and its variants as a library."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from stampbench.models.architecture import Filter, widths_without
from stampbench.models.cut import Cut, carried
from stampbench.models.errors import ModelError
from stampbench.models.tracing.channels import find_channels
from stampbench.models.tracing.traced_filters import TracedFilters
from stampbench.strategies.dropout import begin_dropout
from stampbench.strategies.errors import StrategyError
from stampbench.strategies.importance import IMPORTANCES, ImportanceInputs, Scores
from stampbench.strategies.registry import STRATEGIES
from stampbench.strategies.stamp import TrainAndPrune

Loss = Callable[[Any, Tensor], Tensor]
"""Loss of a module's output and labels; only the importance `taylor` needs it."""


class Pruned(NamedTuple):
    """What a prune removed.

    Attributes:
        filters: The removed filters with their scores; channels are those before the prune.
        cuts: The replaced parameters, for an optimiser that the pruner does not update.
    """

    filters: tuple[Filter, ...]
    cuts: tuple[Cut, ...]


class Pruner:
    """Removes filters from a module, in place, while somebody else's loop trains it (Dinsdale et al. 2022, §2).

        pruner = Pruner(model, example, strategy="stamp_plus", recovery_epochs=5)
        for epoch in range(epochs):
            train_one_epoch(model, loader, optimiser)
            pruner.step(loader, optimiser)

    Which filters depend on each other is found by following the channels through one forward pass. The optimiser keeps
    its settings and gets the new parameters. Dropout is applied by hooks in training mode.

    Attributes:
        model: The module.
        strategy: The strategy with its hyperparameters.
        epochs: Calls of `step` so far.
    """

    def __init__(
        self,
        model: nn.Module,
        example: Tensor,
        strategy: str = "stamp_plus",
        *,
        loss: Loss | None = None,
        seed: int = 0,
        **hyperparameters: Any,
    ) -> None:
        """Find the filters of `model` and set the dropout that applies before the first prune.

        Args:
            model: The module; its first output is compared with nothing, so it may return anything.
            example: A batch `(N, channels, *spatial)` of at least two images, on the module's device.
            strategy: Name of a strategy that prunes every few epochs, such as `stamp`, `stamp_plus`, `random_largest`.
            loss: Loss of outputs and labels, for `importance="taylor"`.
            seed: Seed of random choices.
            **hyperparameters: Hyperparameters of the strategy, such as `recovery_epochs` and `filters_per_step`.

        Raises:
            StrategyError: when the strategy is not one that can be used here.
            ModelError: when the module does not accept the example, or no layer can lose filters.
            pydantic.ValidationError: when a hyperparameter is not valid.
        """
        self.model, self.strategy, self.epochs = model, _strategy(strategy, hyperparameters), 0
        self._module = _RankedModule(model, TracedFilters(model, find_channels(model, example)))
        if not self.widths:
            raise ModelError(f"{type(model).__name__}: no layer can lose filters")
        self._trainer = _LoopTrainer(self._module, loss, np.random.default_rng(seed))
        self._start = self.parameters
        begin_dropout(self._trainer, self.strategy.dropout, self.strategy.base_dropout)  # type: ignore[arg-type]

    @property
    def widths(self) -> dict[str, int]:
        """Filters of each prunable layer that are left."""
        return dict(self._module.filters.widths)

    @property
    def parameters(self) -> int:
        """Trainable parameters of the module."""
        return sum(each.numel() for each in self.model.parameters() if each.requires_grad)

    @property
    def finished(self) -> bool:
        """Whether nothing is removed any more: `min_filters` or the limit of parameters is reached."""
        limit = self.strategy.parameter_limit(self._start)
        return not self.strategy.prunable(self.widths) or self.parameters <= limit

    def step(self, batches: Iterable[Any], optimiser: torch.optim.Optimizer | None = None) -> Pruned | None:
        """Count an epoch; after the first one, and then after every `recovery_epochs`, prune.

        Args:
            batches: The training images, for the ranking: batches `(images, labels, …)`, mappings with `image` and
                `label`, or tensors.
            optimiser: The optimiser of the module's parameters, which gets the new ones.

        Returns:
            What was removed; None: no prune was due, or the pruner has finished.
        """
        self.epochs += 1
        due = (self.epochs - 1) % self.strategy.recovery_epochs == 0
        return self.prune(batches, optimiser) if due and not self.finished else None

    def prune(self, batches: Iterable[Any], optimiser: torch.optim.Optimizer | None = None) -> Pruned:
        """Rank and remove filters now, and set the dropout; arguments as for `step`."""
        trainer = self._trainer
        device = next(self.model.parameters()).device
        trainer.batches, trainer.removed, trainer.cuts = lambda: _pairs(batches, device), [], []
        self.strategy.prune_once(trainer)  # type: ignore[arg-type]
        pruned = Pruned(tuple(trainer.removed), tuple(trainer.cuts))
        if optimiser is not None:
            update_optimiser(optimiser, pruned.cuts, self.strategy.optimiser)
        return pruned

    def state_dict(self) -> dict[str, Any]:
        """Return what `load_state_dict` needs besides the module's own state."""
        return {
            "widths": self.widths,
            "epochs": self.epochs,
            "start": self._start,
            "dropout": self._module.filters.dropout_probabilities(),
            "rng": self._trainer.rng.bit_generator.state,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Bring a new, unpruned module into a saved shape; load its weights and make its optimiser afterwards.

        Raises:
            ModelError: when the state is one of another module.
        """
        self._module.filters.shrink(state["widths"])
        self._module.filters.set_dropout(state["dropout"])
        self.epochs, self._start = state["epochs"], state["start"]
        self._trainer.rng.bit_generator.state = state["rng"]


def update_optimiser(
    optimiser: torch.optim.Optimizer, cuts: Iterable[Cut], state: Literal["new", "carry"] = "new"
) -> None:
    """Replace the parameters of an optimiser by those that a prune made of them, in place.

    Args:
        optimiser: The optimiser.
        cuts: The replaced parameters.
        state: `new` forgets moments and step counts, as STAMP's code does; `carry` keeps those of what is left.
    """
    cuts = list(cuts)
    newest: dict[Tensor, Tensor] = {}
    for each in reversed(cuts):
        newest[each.old] = newest.get(each.new, each.new)
    kept = carried(optimiser.state, cuts) if state == "carry" else {}
    for group in optimiser.param_groups:
        group["params"] = [newest.get(each, each) for each in group["params"]]
    optimiser.state.clear()
    optimiser.state.update(kept)


class _RankedModule(nn.Module):
    """What importances need of a network; it is its own architecture."""

    kernels = "plain"

    def __init__(self, net: nn.Module, filters: TracedFilters) -> None:
        super().__init__()
        self.net, self.filters = net, filters

    def forward(self, x: Tensor) -> Any:
        return self.net(x)

    def infer_layers(self, images: Tensor) -> None:
        self.net(images)

    def watched(self, callback: Callable[[str, Tensor], None]) -> Any:
        return self.filters.watched(callback)

    def filter_weights(self) -> dict[str, Tensor]:
        return self.filters.weights()

    def writers(self, layer: str) -> list[nn.Module]:
        return self.filters.writers(layer)

    @property
    def architecture(self) -> _Layers:
        return _Layers(dict(self.filters.widths))


class _Layers(NamedTuple):
    """What selections need of an architecture."""

    layers: dict[str, int]

    def without(self, filters: Iterable[Filter]) -> _Layers:
        return _Layers(widths_without(self.layers, filters))


class _LoopTrainer:
    """The operations of a `Trainer` that one prune needs, on the module of somebody else's loop."""

    def __init__(self, module: _RankedModule, loss: Loss | None, rng: np.random.Generator) -> None:
        self.rng = rng
        self.batches: Callable[[], Iterable[tuple[Tensor, Tensor]]] = tuple
        self.removed: list[Filter] = []
        self.cuts: list[Cut] = []
        self._module, self._loss = module, loss

    @property
    def architecture(self) -> _Layers:
        return self._module.architecture

    def score(self, importance: str) -> Scores:
        inputs = ImportanceInputs(self._module, self.batches(), self._loss or _no_loss, self.rng)  # type: ignore[arg-type]
        return IMPORTANCES[importance].score(inputs)

    def prune(self, filters: Iterable[Filter], optimiser: str = "new") -> None:
        chosen = list(filters)
        self.cuts += self._module.filters.remove(chosen)
        self.removed += chosen

    def set_dropout(self, probabilities: Mapping[str, float]) -> None:
        self._module.filters.set_dropout(probabilities)


def _strategy(name: str, hyperparameters: Mapping[str, Any]) -> TrainAndPrune:
    if name not in STRATEGIES:
        raise StrategyError(f"unknown strategy '{name}'; known: {', '.join(STRATEGIES)}")
    entry = STRATEGIES[name]
    cls = entry.load()
    if not issubclass(cls, TrainAndPrune):
        raise StrategyError(f"strategy '{name}': does not prune every few epochs; take one such as stamp_plus")
    strategy = cls(**{**entry.preset, **hyperparameters})
    if reason := strategy.fixed_network():
        raise StrategyError(f"strategy '{name}': {reason}")
    if strategy.cost != "none":
        raise StrategyError(f"cost={strategy.cost}: known to the harness only, which knows the size of images")
    if strategy.pretrained or strategy.recovery == "convergence" or strategy.dropout == "matched":
        raise StrategyError(
            f"strategy '{name}': needs trainings that the pruner does not control (pretrained, recovery=convergence, "
            "dropout=matched); take one such as stamp_plus, and call prune where it is due"
        )
    return strategy


def _pairs(batches: Iterable[Any], device: torch.device) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield images and labels; a batch without labels has its images in their place."""
    for batch in batches:
        if isinstance(batch, Mapping):
            images, labels = batch["image"], batch.get("label", batch["image"])
        elif isinstance(batch, Tensor):
            images = labels = batch
        else:
            images, labels = batch[0], batch[1] if len(batch) > 1 else batch[0]
        yield images.to(device), labels.to(device)


def _no_loss(*_: Any) -> Tensor:
    raise StrategyError("this importance needs a loss: Pruner(…, loss=…)")
