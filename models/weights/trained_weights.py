"""Networks with trained weights that a user has: names are matched, shapes and values checked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from torch import Tensor, nn

from stampbench.models.architecture import UNetArchitecture
from stampbench.models.errors import ModelError
from stampbench.models.model import Architecture, Model, build, without_memory
from stampbench.models.tracing.traced_architecture import TracedArchitecture
from stampbench.models.weights.nnunet_checkpoint import is_nnunet, nnunet_state
from stampbench.models.weights.serialization import ARCHITECTURE, WEIGHTS, load_model
from stampbench.models.weights.weights_file import read_content, state_of

_PREFIXES = ("module.", "_orig_mod.", "net.", "model.", "network.")
"""Prefixes of all names that wrappers around a network add, such as DataParallel, torch.compile and Lightning."""


def load_trained(file: Path, start: Architecture, *, pictures: bool = False) -> Model:
    """Return the network of an architecture with the weights of a file, on the CPU and in evaluation mode.

    Beside an architecture file, as in the folder of a run's network, the network may be a pruned form of `start`.

    Args:
        file: The file that holds the weights.
        start: The architecture.
        pictures: Whether the images are 2D pictures, whose axes nnU-Net does not exchange.

    Raises:
        ModelError: when the file cannot be read, or its weights are not those of this network or not finite.
    """
    if file.name == WEIGHTS and (file.parent / ARCHITECTURE).is_file():
        model = load_model(file.parent)
        if not _is_pruned_form(model.architecture, start):
            raise ModelError(f"weights {file}: not those of {_named(start)}, as {ARCHITECTURE} beside them says")
        return model
    content = read_content(file)
    state = nnunet_state(content, file, start.spatial_dims, pictures) if is_nnunet(content) else state_of(content, file)
    weights = _fitting(state, start, file)
    model = build(start)
    model.load_state_dict(weights)
    return model.eval()


def _fitting(state: Mapping[str, Tensor], start: Architecture, file: Path) -> dict[str, Tensor]:
    """Return the weights under the network's own names."""
    module = without_memory(start)
    expected, names = module.state_dict(), nn.Module.state_dict(module)  # the latter with further names of the same
    found = max(_renamed(state), key=lambda each: len(each.keys() & names.keys()))
    problems = [
        *(f"has no tensor '{_own(name)}'" for name in expected if name not in found),
        *(f"tensor '{_own(name)}' does not exist in the network" for name in found if name not in names),
        *(_misfits(found, expected)),
    ]
    if problems:
        more = f" (and {len(problems) - 1} more such problems)" if len(problems) > 1 else ""
        raise ModelError(f"weights {file}: not those of {_named(start)}: {problems[0]}{more}")
    weights = {name: found[name].to(value.dtype) for name, value in expected.items()}
    for name, value in weights.items():
        if not value.isfinite().all():
            raise ModelError(f"weights {file}: tensor '{_own(name)}' contains NaN or infinite values")
    return weights


def _own(name: str) -> str:
    """Return the name of a tensor in the user's module."""
    return name.removeprefix("net.")[:200]


def _misfits(found: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Iterator[str]:
    for name, value in expected.items():
        if name not in found:
            continue
        own = found[name]
        if own.shape != value.shape:
            yield f"tensor '{_own(name)}' has shape {tuple(own.shape)}, the network's has {tuple(value.shape)}"
        elif own.is_floating_point() != value.is_floating_point() or own.is_complex():
            yield f"tensor '{_own(name)}' is of type {own.dtype}, the network's is of type {value.dtype}"


def _renamed(state: Mapping[str, Tensor]) -> Iterator[Mapping[str, Tensor]]:
    """Yield the tensors under their own names and without the prefixes of wrappers."""
    while True:
        yield state
        yield {f"net.{name}": value for name, value in state.items()}
        prefix = next((each for each in _PREFIXES if state and all(name.startswith(each) for name in state)), None)
        if prefix is None:
            return
        state = {name.removeprefix(prefix): value for name, value in state.items()}


def _is_pruned_form(found: Architecture, start: Architecture) -> bool:
    """Return whether an architecture is another one with the same or fewer filters."""
    if isinstance(found, TracedArchitecture) and isinstance(start, TracedArchitecture):
        return found.model_copy(update={"filters": start.filters}) == start
    if not (isinstance(found, UNetArchitecture) and isinstance(start, UNetArchitecture)):
        return found == start
    widths = {"convs": start.convs, "upconvs": start.upconvs, "prune_upconvs": start.prune_upconvs}
    narrower = all(
        one <= other for one, other in zip(found.convs + found.upconvs, start.convs + start.upconvs, strict=False)
    )
    return len(found.convs) == len(start.convs) and narrower and found.model_copy(update=widths) == start


def _named(start: Architecture) -> str:
    network = f"network '{start.name}'" if isinstance(start, TracedArchitecture) else "the U-Net"
    return f"{network} with {start.in_channels} channels and {start.out_channels} classes in {start.spatial_dims}D"
