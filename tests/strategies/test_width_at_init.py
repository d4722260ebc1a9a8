"""The choice of a width at initialisation, computed by hand."""

from __future__ import annotations

import math

import pytest
import torch

from stampbench.models.architecture import UNetArchitecture
from stampbench.models.model import Kernels, build
from stampbench.models.networks.monai import DynUNet
from stampbench.models.tracing.traced_architecture import TracedArchitecture
from stampbench.strategies.errors import StrategyError
from stampbench.strategies.width_at_init import WidthAtInit, before_jump, capped, input_sensitivity


@pytest.mark.parametrize(
    ("sensitivities", "chosen"),
    [
        # Steps 0, 0, 0, .1, .9. k = 2: (0 + 0 + .1 + .9) / 4 − 0 = .25; k = 3: 1 / 3 − 0: the jump, so candidate 2.
        ([0, 0, 0, 0, 0.1, 1.0], 2),
        ([1, 1, 1, 1, 1, 0.9, 0.5, 0], 4),
        ([5, 5.1, 5, 5.2, 5.1, 5, 9, 2, 8, 1], 5),
        ([2, 2, 2, 2, 2, 2, 2], 1),  # all gains are equal, and the first one counts
        ([10, 10, 10, 10, 11, 20], 2),  # the first row, scaled and shifted
        ([0, 0, 0, 0, 1], 1),  # with five candidates there is no choice
    ],
)
def test_the_last_candidate_before_the_jump(sensitivities: list[float], chosen: int) -> None:
    assert before_jump(sensitivities) == chosen


def test_sensitivities_must_be_finite() -> None:
    with pytest.raises(StrategyError, match="not all finite"):
        before_jump([1, 2, math.nan, 3, 4])


def test_candidates_of_a_unet() -> None:
    found = capped(UNetArchitecture.doubling(2, 1, 2, f=8, depth=2, convs_per_level=1))
    assert [each.widths for each in found] == [
        (8, 16, 32, 16, 8), (8, 16, 16, 16, 8), (8,) * 5, (4,) * 5, (2,) * 5, (1,) * 5,
    ]  # fmt: skip
    assert all(isinstance(each, UNetArchitecture) for each in found)
    assert [each.upconvs for each in found if isinstance(each, UNetArchitecture)][-1] == (1, 1)


def test_candidates_of_another_network() -> None:
    found = capped(TracedArchitecture.unpruned("dynunet", DynUNet(f=8, depth=2), 2, 1, 2))
    assert [max(each.widths) for each in found] == [32, 16, 8, 4, 2, 1]


def test_published_sizes() -> None:
    """XTinyU-Net with at most 8 filters: 20.24 thousand parameters, the heads of deep supervision included."""
    start = TracedArchitecture.unpruned("dynunet", DynUNet(f=32, depth=6), 2, 1, 2)
    chosen = next(each for each in capped(start) if max(each.widths) == 8)
    parameters = sum(each.numel() for each in build(chosen).parameters())
    # MONAI's convolutions have no bias before a normalisation: 8 fewer in each of 14 + 12 convolutions, and
    # 8 fewer in each of 6 transposed convolutions; nnU-Net has 5 more heads of 8 · 2 + 2.
    assert parameters + (26 + 6) * 8 + 5 * 18 == 20_244


def test_a_narrow_network_is_refused() -> None:
    with pytest.raises(StrategyError, match="widest layer has 8 filters has 4 candidates"):
        capped(WidthAtInit(f=2, depth=2).start(2, 1, 2))


@pytest.mark.parametrize("kernels", ["plain", "fast"])
def test_sensitivity_is_the_norm_of_the_input_gradient(kernels: Kernels) -> None:
    torch.manual_seed(0)
    model = build(UNetArchitecture.doubling(2, 1, 2, f=2, depth=1), kernels).train()
    model.set_dropout({"conv1": 0.5})
    before = {name: value.clone() for name, value in model.state_dict().items()}
    batches = [torch.randn(2, 1, 8, 8), torch.randn(3, 1, 8, 8)]
    found = input_sensitivity(model, batches)
    assert model.training
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    norms = []
    for batch in batches:
        # One voxel at a time, by finite differences in double precision.
        double = build(model.architecture).double().eval()
        double.load_state_dict(model.state_dict())
        for image in range(len(batch)):
            squares = 0.0
            for row in range(8):
                for column in range(8):
                    ends = []
                    for step in (1e-5, -1e-5):
                        moved = batch.double().clone()
                        moved[image, 0, row, column] += step
                        with torch.no_grad():
                            ends.append(double(moved).sum().item())
                    squares += ((ends[0] - ends[1]) / 2e-5) ** 2
            norms.append(math.sqrt(squares))
    assert found == pytest.approx(sum(norms) / 5, rel=1e-3)
