"""Pruning in a loop of one's own: what is removed, the schedule, the optimiser, and resuming."""

from __future__ import annotations

import copy
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.networks.nets import BasicUNet
from torch import Tensor, nn

from stampbench.models.errors import ModelError
from stampbench.strategies import Pruner
from stampbench.strategies.errors import StrategyError
from stampbench.strategies.pruner import update_optimiser

DOCUMENT = Path(__file__).parents[2] / "docs" / "your-own-loop.md"


def net() -> nn.Module:
    torch.manual_seed(0)
    return BasicUNet(2, 1, 2, (4, 4, 6, 8, 10, 4))  # type: ignore[no-any-return]


def batches() -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(0)
    return [
        (torch.randn(2, 1, 32, 32, generator=generator), torch.zeros(2, 32, 32, dtype=torch.long)) for _ in range(2)
    ]


def train(model: nn.Module, optimiser: torch.optim.Optimizer) -> None:
    model.train()
    for images, labels in batches():
        optimiser.zero_grad()
        nn.functional.cross_entropy(model(images), labels).backward()
        optimiser.step()


def test_the_least_active_filters_of_what_is_read_are_removed() -> None:
    model = net()
    reads = {"down_4.convs.conv_1.conv": "down_4.convs.conv_0.conv"}
    seen: dict[str, list[Tensor]] = {path: [] for path in reads}
    pruner = Pruner(model, batches()[0][0], strategy="stamp", filters_per_step=50)
    hooks = [
        model.get_submodule(path).register_forward_pre_hook(lambda _, x, path=path: seen[path].append(x[0]))
        for path in reads
    ]
    before = copy.deepcopy(model)
    pruned = pruner.prune(batches())
    for each in hooks:
        each.remove()
    norms = torch.cat(seen["down_4.convs.conv_1.conv"]).flatten(2).norm(dim=2).mean(0)
    removed = [each for each in pruned.filters if each.layer == "down_4.convs.conv_0.conv"]
    assert removed
    assert {each.channel for each in removed} == set(norms.argsort()[: len(removed)].tolist())
    left = pruner.widths
    assert sum(left.values()) == sum(Pruner(before, batches()[0][0]).widths.values()) - 50
    assert model.down_4.convs.conv_0.conv.out_channels == left["down_4.convs.conv_0.conv"]  # type: ignore[union-attr]


def test_prunes_follow_the_schedule_until_the_end() -> None:
    model = net()
    optimiser = torch.optim.Adam(model.parameters())
    pruner = Pruner(model, batches()[0][0], strategy="random_largest", recovery_epochs=2, filters_per_step=30, seed=1)
    steps = []
    while not pruner.finished:
        train(model, optimiser)
        steps.append(pruner.step(batches(), optimiser) is not None)
    assert steps[:5] == [True, False, True, False, True]
    assert set(pruner.widths.values()) == {1}
    assert pruner.step(batches(), optimiser) is None
    assert {id(each) for group in optimiser.param_groups for each in group["params"]} == {
        id(each) for each in model.parameters()
    }


@pytest.mark.parametrize("state", ["new", "carry"])
def test_the_optimiser_continues_with_the_new_parameters(state: str) -> None:
    model = net()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    pruner = Pruner(model, batches()[0][0], strategy="stamp", filters_per_step=60, optimiser=state)
    train(model, optimiser)
    weights = {layer: model.get_parameter(f"{layer}.weight") for layer in pruner.widths}
    momenta = {layer: optimiser.state[each]["momentum_buffer"].clone() for layer, each in weights.items()}
    pruned = pruner.prune(batches(), optimiser)
    before = "down_3.convs.conv_1.conv"
    layer = "down_4.convs.conv_0.conv"
    gone = [each.channel for each in pruned.filters if each.layer == layer]
    new = model.get_parameter(f"{layer}.weight")
    assert len(new) == len(weights[layer]) - len(gone) < len(weights[layer])
    if state == "new":
        assert not optimiser.state
    else:
        kept, read = (
            [
                each
                for each in range(len(weights[name]))
                if (name, each) not in {(f.layer, f.channel) for f in pruned.filters}
            ]
            for name in (layer, before)
        )
        assert torch.equal(optimiser.state[new]["momentum_buffer"], momenta[layer][kept][:, read])
    untrained = new.detach().clone()
    train(model, optimiser)
    assert not torch.equal(new, untrained)


def test_targeted_dropout_acts_in_training_only() -> None:
    model = net()
    pruner = Pruner(model, batches()[0][0], filters_per_step=4)
    assert set(pruner.state_dict()["dropout"].values()) == {0.1 * 0.05}
    pruner.prune(batches())
    probabilities = pruner.state_dict()["dropout"]
    assert max(probabilities.values()) == pytest.approx(0.1)
    image = batches()[0][0]
    model.eval()
    assert torch.equal(model(image), model(image))
    model.train()
    assert not torch.equal(model(image), model(image))


def test_a_saved_state_brings_a_new_module_into_the_same_shape() -> None:
    model = net()
    pruner = Pruner(model, batches()[0][0], recovery_epochs=2, filters_per_step=10)
    optimiser = torch.optim.Adam(model.parameters())
    for _ in range(2):
        train(model, optimiser)
        pruner.step(batches(), optimiser)
    other = net()
    resumed = Pruner(other, batches()[0][0], recovery_epochs=2, filters_per_step=10)
    resumed.load_state_dict(pruner.state_dict())
    other.load_state_dict(model.state_dict())
    assert resumed.widths == pruner.widths
    first, second = pruner.step(batches()), resumed.step(batches())
    assert first is not None
    assert second is not None
    assert first.filters == second.filters
    assert torch.equal(model.eval()(batches()[0][0]), other.eval()(batches()[0][0]))
    with pytest.raises(ModelError, match="are not among those of the module"):
        Pruner(net(), batches()[0][0]).load_state_dict({**pruner.state_dict(), "widths": {"no.such.layer": 1}})


def test_mappings_and_tensors_are_batches_too() -> None:
    (images, labels), *_ = batches()
    for batch in ({"image": images, "label": labels}, images, [images]):
        assert len(Pruner(net(), images, strategy="stamp").prune([batch]).filters) == 1


def test_taylor_needs_a_loss() -> None:
    model = net()
    with pytest.raises(StrategyError, match="needs a loss"):
        Pruner(model, batches()[0][0], strategy="stamp", importance="taylor").prune(batches())
    loss = nn.functional.cross_entropy
    pruner = Pruner(model, batches()[0][0], strategy="stamp", importance="taylor", loss=loss)
    assert len(pruner.prune(batches()).filters) == 1


@pytest.mark.parametrize(
    ("strategy", "settings", "message"),
    [
        ("stampp", {}, "unknown strategy 'stampp'"),
        ("flat", {}, "strategy 'flat': does not prune every few epochs"),
        ("prune_finetune", {}, "needs trainings that the pruner does not control"),
        ("stamp", {"prune_upconvs": True}, "prune_upconvs belongs to the U-Net"),
        ("stamp", {"cost": "flops"}, "cost=flops: known to the harness only"),
    ],
)
def test_a_strategy_that_cannot_be_used_is_refused(strategy: str, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(StrategyError, match=message):
        Pruner(net(), batches()[0][0], strategy=strategy, **settings)


def test_a_module_without_prunable_layers_is_refused() -> None:
    with pytest.raises(ModelError, match="Conv2d: no layer can lose filters"):
        Pruner(nn.Conv2d(1, 2, 3), batches()[0][0])


def test_updating_follows_parameters_through_several_cuts() -> None:
    model = net()
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    pruner = Pruner(model, batches()[0][0], strategy="stamp", filters_per_step=3)
    cuts = [cut for _ in range(3) for cut in pruner.prune(batches()).cuts]
    update_optimiser(optimiser, cuts)
    assert {id(each) for each in optimiser.param_groups[0]["params"]} == {id(each) for each in model.parameters()}


EXAMPLES = re.findall(r"## (.+?)\n\n```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)
NEEDED = {"PyTorch": "monai", "MONAI and Ignite": "ignite", "Lightning": "pytorch_lightning"}


def test_every_example_is_tried() -> None:
    assert [name for name, _ in EXAMPLES] == list(NEEDED)


@pytest.mark.parametrize(("name", "code"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_examples_of_the_documents_run_and_prune(name: str, code: str, tmp_path: Path) -> None:
    if importlib.util.find_spec(NEEDED[name]) is None:
        pytest.skip(f"{NEEDED[name]} is not installed; it is part of the extra loops")
    lines = [line for line in code.splitlines() if line.strip()]
    assert len(lines) <= 30
    space: dict[str, Any] = {"__name__": "example"}
    exec(compile(code, str(DOCUMENT), "exec"), space)
    if name == "Lightning":
        data = torch.utils.data.TensorDataset(torch.randn(4, 1, 32, 32), torch.randint(0, 2, (4, 1, 32, 32)))
        callback, module = space["Pruning"](), space["Segmentation"]()
        trainer = space["Trainer"](
            max_epochs=2, callbacks=[callback], logger=False, enable_checkpointing=False, enable_progress_bar=False,
            accelerator="cpu", default_root_dir=tmp_path,
        )  # fmt: skip
        trainer.fit(module, torch.utils.data.DataLoader(data, batch_size=2))
        space["pruner"] = callback.pruner
    pruner = space["pruner"]
    assert pruner.epochs == {"PyTorch": 5, "MONAI and Ignite": 3, "Lightning": 2}[name]
    assert pruner.parameters < pruner.state_dict()["start"]
