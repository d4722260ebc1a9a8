"""Conformance tests that authors run on their networks."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from pydantic import ValidationError

from stampbench.models.architecture import Filter
from stampbench.models.model import build, parameter_count, parse_architecture
from stampbench.models.network import Network
from stampbench.models.pruning import remove_filters
from stampbench.models.registry import NETWORKS, Entry
from stampbench.models.removal_check import check_removal
from stampbench.models.tracing.traced import TracedModel
from stampbench.models.tracing.traced_architecture import TracedArchitecture
from stampbench.models.weights.serialization import load_model, save_model

__all__ = ["check_network"]

_NAME = "under_test"


def check_network(network: Network, spatial_dims: int, folder: Path, *, prunable: bool = True) -> None:
    """Run all checks on one network.

    Hyperparameters are validated and survive JSON; the module returns logits of the image's size for several numbers of
    channels and classes; it can be trained; filters can be removed, one step after another, and a network without
    them computes what it computes when they are silent; it survives saving.

    Args:
        network: The network, best with small hyperparameters.
        spatial_dims: 2 or 3.
        folder: An empty folder for files.
        prunable: Whether the network has layers that can lose filters.

    Raises:
        AssertionError: when a check fails; the message names it.
        ModelError: when the network cannot be built, or removing filters changes more than it should.
    """
    NETWORKS[_NAME] = Entry("", origin="a test", loaded=type(network))
    try:
        _check_hyperparameters(network)
        for in_channels, out_channels in ((1, 2), (3, 4)):
            architecture = TracedArchitecture.unpruned(_NAME, network, spatial_dims, in_channels, out_channels)
            read = parse_architecture(architecture.model_dump_json())
            assert read == architecture, "the network does not survive JSON"
            _check_logits(architecture)
        found = "layers" if architecture.prunable() else "no layer"
        assert architecture.prunable() == prunable, f"{found} can lose filters"
        if prunable:
            check_removal(architecture)
        _check_pruning(architecture, folder)
    finally:
        del NETWORKS[_NAME]


def _check_hyperparameters(network: Network) -> None:
    cls = type(network)
    with pytest.raises(ValidationError):
        cls.model_validate({"no_such_hyperparameter": 1})
    assert cls.model_validate_json(network.model_dump_json()) == network, "hyperparameters do not survive JSON"


def _check_logits(architecture: TracedArchitecture) -> None:
    model = build(architecture)
    image = _image(architecture, 2)
    assert model.eval()(image).shape == (2, architecture.out_channels, *image.shape[2:]), "logits have another shape"
    output = model.train()(image)
    heads = output if isinstance(output, list) else [output]
    assert heads[0].shape[2:] == image.shape[2:], "the first logits in training mode are not those of the full size"
    torch.stack([each.square().mean() for each in heads]).sum().backward()  # type: ignore[no-untyped-call]
    assert any(each.grad is not None and each.grad.any() for each in model.parameters()), "no weight gets a gradient"


def _check_pruning(architecture: TracedArchitecture, folder: Path) -> None:
    """Remove the last filter of every layer again and again, and save the network."""
    torch.manual_seed(0)
    model = build(architecture)
    assert isinstance(model, TracedModel)
    image = _image(architecture, 1)
    for _ in range(20):
        widths = model.architecture.layers
        remove_filters(model, [Filter(layer, width - 1) for layer, width in widths.items() if width > 1])
        found = sum(each.numel() for each in model.parameters())
        assert found == parameter_count(model.architecture), "the pruned module is not that of its architecture"
    save_model(model.eval(), folder)
    assert torch.equal(load_model(folder)(image), model(image)), "the network does not survive saving"


def _image(architecture: TracedArchitecture, number: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    sizes = [2 * each for each in architecture.divisors]
    return torch.randn(number, architecture.in_channels, *sizes, generator=generator)
