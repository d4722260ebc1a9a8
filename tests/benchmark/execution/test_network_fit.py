"""What does not fit a network is refused before training, in one line."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from stampbench.benchmark.config.dataset_request import find_definition
from stampbench.benchmark.config.rerun_command import rerun_command
from stampbench.benchmark.config.resolve import resolve_network, resolve_networks, resolve_protocol, resolve_strategies
from stampbench.benchmark.config.suite import Block
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.execution.expand_suite import expand_block
from stampbench.benchmark.execution.run import Draw, Run, plan_run
from stampbench.datasets.dataset import open_dataset
from stampbench.models.errors import ModelError
from stampbench.models.registry import NETWORKS

MODULES = """
import torch
from torch import nn


class Plain(nn.Module):
    def __init__(self, in_channels, out_channels, f: int = 3, name="x", norm=None):
        super().__init__()
        self.first, self.second = nn.Conv2d(in_channels, f, 3, padding=1), nn.Conv2d(f, out_channels, 1)

    def forward(self, x):
        return self.second(self.mix(self.first(x)))

    def mix(self, x):
        return x


class Width(Plain):
    def mix(self, x):
        return x / x.shape[1]


class NoLayer(Plain):
    def mix(self, x):
        return x.softmax(1)


class Batch(Plain):
    def mix(self, x):
        return nn.functional.batch_norm(x.mean((2, 3), keepdim=True), None, None, training=self.training) + x


def needs_more(in_channels, out_channels, other):
    return Plain(in_channels, out_channels)


def has_less(in_channels):
    return Plain(in_channels, 2)


def returns_text(in_channels, out_channels):
    return "no module"


number = 3
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    (tmp_path / "somebodys_nets.py").write_text(MODULES)
    monkeypatch.syspath_prepend(tmp_path)
    known = dict(NETWORKS)
    yield
    NETWORKS.clear()
    NETWORKS.update(known)
    sys.modules.pop("somebodys_nets", None)


def plan(strategy: str, network: str, dataset: str = "phantom2d:size=16,cases=10", **settings: Any) -> Run:
    protocol = resolve_protocol("quick", {"folds": 2, "batch_size": 2})
    (resolved,) = resolve_strategies([strategy], protocol, {})
    on_network = resolved.on(resolve_network(network, settings))
    return plan_run(on_network, open_dataset(find_definition(dataset)), protocol, Draw(None, fold=0, seed=0))


def test_the_network_is_part_of_the_specification() -> None:
    ids = {
        plan("stamp", "unet").spec.id,
        plan("stamp", "dynunet", f=2, depth=2).spec.id,
        plan("stamp", "dynunet", f=4, depth=2).spec.id,
    }
    assert len(ids) == 3
    assert "network" not in plan("stamp", "unet").spec.stored()
    run = plan("prune_finetune", "dynunet", f=2, depth=2)
    assert run.label == "prune_finetune (network=dynunet f=2 depth=2)"
    assert run.parents["converged"].label == "standard (network=dynunet f=2 depth=2)"


def test_a_class_of_a_module_is_a_network(modules: None) -> None:
    run = plan("stamp", "somebodys_nets:Plain", f=5)
    assert run.architecture.layers == {"first": 5}
    assert run.spec.network is not None
    assert run.spec.network.hyperparameters == {"f": 5, "name": "x"}
    assert run.spec.code is not None


@pytest.mark.parametrize(
    ("network", "message"),
    [
        ("Width", "without filters of layer 'first' it does not compute what it computes when these are silent"),
        ("Absent", "cannot be imported .AttributeError"),
        ("number", "not a class or function that returns a module"),
        ("needs_more", "needs the argument 'other'"),
        ("has_less", "has no argument 'out_channels'"),
        ("returns_text", "returned str, not a PyTorch module"),
    ],
)
def test_a_faulty_module_is_refused(network: str, message: str, modules: None) -> None:
    with pytest.raises(ModelError, match=message) as error:
        plan("stamp", f"somebodys_nets:{network}")
    assert "\n" not in str(error.value)


def test_a_module_that_does_not_exist_is_refused() -> None:
    with pytest.raises(ModelError, match="network 'no_such_module:Net': cannot be imported"):
        plan("stamp", "no_such_module:Net")


@pytest.mark.parametrize(
    ("strategy", "network", "settings", "message"),
    [
        ("stamp", "dynunett", {}, "unknown network 'dynunett'; did you mean 'dynunet'"),
        ("stamp", "dynunet", {"g": 1}, "unknown hyperparameter of network dynunet 'g'"),
        ("stamp", "dynunet", {"f": 0}, "network 'dynunet'.*f"),
        ("stamp", "unet", {"f": 8}, "network 'unet': its hyperparameters are those of strategies; set f there"),
        (
            "flat",
            "dynunet",
            {},
            "strategy 'flat': cannot start from network 'dynunet', because shape=flat is a U-Net's",
        ),
        ("pocket_unet", "dynunet", {}, "because it trains PocketNet's networks"),
        ("distill", "dynunet", {}, "because its student and its teacher are U-Nets"),
        ("depgraph", "dynunet", {}, "because prune_upconvs belongs to the U-Net"),
        (
            "stamp",
            "dynunet",
            {"depth": 5},
            "network 'dynunet' needs sizes that are multiples of 32, but phantom2d has 16",
        ),
        ("stamp", "dynunet", {"depth": 4}, "does not train on 2 images of phantom2d of size 16×16"),
    ],
)
def test_what_does_not_fit_is_refused(strategy: str, network: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        plan(strategy, network, **settings)
    assert "\n" not in str(error.value)


def test_hyperparameters_of_the_unet_do_not_belong_to_other_networks() -> None:
    grid = {
        "strategies": [{"name": "stamp", "set": {"f": 2}}],
        "datasets": ["phantom2d:size=16,cases=10"],
        "protocol_set": {"folds": 2},
    }
    dataset = open_dataset(find_definition("phantom2d:size=16,cases=10"))
    assert len(expand_block(Block.model_validate(grid), lambda _: dataset)) == 2
    with pytest.raises(UserError, match="f=2 is a hyperparameter of the U-Net, and network 'dynunet' has its own"):
        expand_block(Block.model_validate({**grid, "networks": ["dynunet"]}), lambda _: dataset)


def test_a_network_that_pads_small_images_is_accepted() -> None:
    assert plan("stamp", "monai.networks.nets:BasicUNet", "phantom2d:size=32,cases=10").architecture.prunable()
    NETWORKS.pop("monai.networks.nets:BasicUNet")


def test_pruning_needs_a_layer_that_can_lose_filters(modules: None) -> None:
    network = "somebodys_nets:NoLayer"
    with pytest.raises(UserError, match="has no layer that can lose filters; strategies such as 'standard' train it"):
        plan("stamp", network)
    assert plan("standard", network).architecture.layers == {}


def test_each_network_gets_the_settings_that_it_has() -> None:
    dynunet, unet, segresnet = resolve_networks(["dynunet", "unet", "segresnet"], {"f": "4", "depth": "2"})
    assert unet is None
    assert dynunet is not None
    assert segresnet is not None
    assert (dynunet.network.f, dynunet.network.depth, segresnet.network.f) == (4, 2, 4)  # type: ignore[attr-defined]
    with pytest.raises(UserError, match="unknown hyperparameter of network dynunet 'h'"):
        resolve_networks(["unet", "dynunet"], {"h": "1"})


def test_the_command_of_a_run_names_its_network() -> None:
    from stampbench.benchmark.config.dataset_description import DatasetDescription
    from stampbench.benchmark.environment.provenance import Environment

    run = plan("stamp", "dynunet", f=2, depth=2)
    described = DatasetDescription.model_construct(called="phantom2d:size=16,cases=10", source=None)
    environment = Environment.model_construct(
        device="cpu", threads=1, kernels="fast", save_memory=False, deterministic=False, tf32=False
    )
    command = rerun_command(run.spec, described, environment)
    assert "--network dynunet --network-set f=2 --network-set depth=2" in command
