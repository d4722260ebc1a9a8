"""Layout of tensor cores: a GPU's, on a CPU."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import pytest
import torch

from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.execution.run import Run
from stampbench.benchmark.training import session
from stampbench.benchmark.training.layout import lay_out_weights, training_layout
from stampbench.models.architecture import Filter
from stampbench.models.registry import NETWORKS
from stampbench.strategies.testing import CountingTrainer

LAYOUTS = {2: torch.channels_last, 3: torch.channels_last_3d}
CPU = ComputeSettings(device="cpu", kernels="fast")


def test_only_fast_kernels_in_half_precision_on_a_gpu_have_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ComputeSettings, "torch_device", property(lambda self: torch.device(self.device)))
    gpu = ComputeSettings(device="cuda", kernels="fast")
    assert [training_layout(gpu, name, 2) for name in ("bf16", "fp16")] == [torch.channels_last] * 2
    assert training_layout(gpu, "bf16", 3) == torch.channels_last_3d
    plain = gpu.model_copy(update={"kernels": "plain"})
    others = [(gpu, "fp32"), (plain, "bf16"), (CPU, "bf16")]
    assert [training_layout(*each, 3) for each in others] == [None] * 3


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("optimiser", ["new", "carry"])
def test_training_is_the_same_through_prunes_and_resumes(
    make_run: Callable[..., Run],
    make_trainer: Callable[..., CountingTrainer],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    spatial_dims: int,
    optimiser: str,
) -> None:
    """A run is resumed from a state in the other layout, as one of an older version has it."""
    dataset = {2: "phantom2d:size=32,cases=12", 3: "phantom3d:size=16,cases=12"}[spatial_dims]
    run, ended, states = make_run("standard", dataset, f=4, depth=2), [], []
    for layout in (None, LAYOUTS[spatial_dims]):
        monkeypatch.setattr(session, "training_layout", lambda *_, layout=layout: layout)
        trainer = make_trainer(run, tmp_path / str(layout), CPU)
        trainer.train(2)
        trainer.prune([Filter("conv1", 0), Filter("conv2", 3)], optimiser)
        trainer.train(1)
        states.append(trainer.session.state())
        trainer.session.load(deepcopy(states[0]))
        trainer.session.train_epoch()
        ended.append([each.clone() for each in trainer.model.state_dict().values()])
    for own, usual in zip(*reversed(ended), strict=True):
        torch.testing.assert_close(own, usual, rtol=1e-4, atol=1e-4)
    for parameter in trainer.model.parameters():
        moments = trainer.session.optimiser.state[parameter]
        assert parameter.ndim < spatial_dims + 2 or parameter.is_contiguous(memory_format=LAYOUTS[spatial_dims])
        assert {each.stride() for each in moments.values() if each.ndim} == {parameter.stride()}


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("name", NETWORKS)
def test_convolutions_of_every_network_have_it(name: str, spatial_dims: int) -> None:
    """Some have other parameters with as many dimensions as images of the other kind."""
    network = NETWORKS[name].load()()
    if spatial_dims not in network.spatial_dims:
        pytest.skip(f"{name} has no {spatial_dims}D form")
    with torch.device("meta"):
        model = network.planned((64,) * spatial_dims, (1.0,) * spatial_dims).build(spatial_dims, 1, 2)
    lay_out_weights(model, LAYOUTS[spatial_dims])
    weights = [each for each in model.parameters() if each.ndim == spatial_dims + 2]
    assert weights
    assert all(each.is_contiguous(memory_format=LAYOUTS[spatial_dims]) for each in weights)
