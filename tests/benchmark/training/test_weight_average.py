"""Averaged weights, by hand and in a training session."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from stampbench.benchmark.execution.run import Run
from stampbench.benchmark.training.weight_average import WeightAverage
from stampbench.models.architecture import UNetArchitecture
from stampbench.models.unet import UNet


def model() -> UNet:
    return UNet(UNetArchitecture.flat(2, 1, 2, f=1, depth=1))


def test_the_first_epochs_are_averaged_equally_and_later_ones_weigh_more() -> None:
    network, average = model(), WeightAverage(0.6)
    values = [1.0, 4.0, 10.0, 20.0]
    expected = [1.0, 2.5, 5.0, 0.6 * 5 + 0.4 * 20]  # decays 1/2 and 2/3 would be plain means; the limit is 0.6
    expected[2] = 0.6 * 2.5 + 0.4 * 10
    expected[3] = 0.6 * expected[2] + 0.4 * 20
    for value, wanted in zip(values, expected, strict=True):
        torch.nn.init.constant_(network.head.weight, value)
        average.update(network)
        with average.applied(network):
            assert network.head.weight.flatten().tolist() == pytest.approx([wanted] * network.head.weight.numel())
        assert network.head.weight.flatten()[0] == value


def test_without_decay_nothing_is_averaged() -> None:
    network, average = model(), WeightAverage()
    average.update(network)
    assert average.state is None


def test_what_was_saved_does_not_change() -> None:
    network, average = model(), WeightAverage(0.9)
    average.update(network)
    saved = average.saved()
    assert saved[2] is not None
    before = saved[2]["head.weight"].clone()
    torch.nn.init.constant_(network.head.weight, 7)
    average.update(network)
    assert torch.equal(saved[2]["head.weight"], before)
    resumed = WeightAverage(*saved)
    resumed.update(network)
    assert resumed.state is not None
    assert average.state is not None
    assert torch.equal(resumed.state["head.weight"], average.state["head.weight"])


def test_the_average_is_validated_kept_and_selected(
    make_run: Callable[..., Run], make_trainer: Callable[..., Any], tmp_path: Path
) -> None:
    trainer = make_trainer(make_run("standard"), tmp_path)
    trainer.average_weights(0.9)
    seen = []
    for _ in range(3):
        trainer.train(1)
        seen.append(trainer.model.head.weight.detach().clone())
    trainer.validate()
    assert torch.equal(trainer.model.head.weight, seen[-1])
    trainer.checkpoint()
    mean = torch.stack(seen).mean(0)
    torch.testing.assert_close(trainer.selected.weights["head.weight"], mean)
    trainer.keep()
    trainer.train(1)
    trainer.restore()
    torch.testing.assert_close(trainer.model.head.weight.detach(), mean)
    trainer.train(1)
    assert trainer.session.average.epochs == 1


def test_an_average_that_was_loaded_to_the_cpu_continues_on_the_networks_device() -> None:
    with torch.device("meta"):
        network = model()
    average = WeightAverage(0.6, 1, {name: value.cpu() for name, value in model().state_dict().items()})
    average.update(network)
    assert average.state is not None
    assert {value.device.type for value in average.state.values() if value.is_floating_point()} == {"meta"}
