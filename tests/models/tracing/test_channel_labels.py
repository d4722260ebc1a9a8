"""Labels of channels through operations with parameters of their own."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from stampbench.models.tracing.channels import find_channels


class Scaled(nn.Module):
    """A convolution, a product with a parameter or buffer, and a head."""

    def __init__(self, *shape: int, buffer: bool = False) -> None:
        super().__init__()
        self.stem, self.head = nn.Conv2d(1, 4, 1), nn.Conv2d(4, 2, 1)
        if buffer:
            self.register_buffer("factors", torch.ones(shape))
        else:
            self.factors = nn.Parameter(torch.ones(shape))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.factors * self.stem(x))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    ("shape", "dim"), [((4, 1, 1), 0), ((1, 4, 1, 1), 1), ((4, 8, 8), 0), ((1, 1), None), ((1, 1, 1), None), ((), None)]
)
@pytest.mark.parametrize("buffer", [False, True])
def test_a_factor_per_channel_is_cut_with_its_channel(shape: tuple[int, ...], dim: int | None, buffer: bool) -> None:
    found = find_channels(Scaled(*shape, buffer=buffer), torch.zeros(2, 1, 8, 8))
    assert found.layers == {"stem": 4}
    assert {place for place in found.places if place[0] == "factors"} == (set() if dim is None else {("factors", dim)})


def test_what_is_broadcast_without_a_place_pins_the_channels() -> None:
    class Computed(Scaled):
        def forward(self, x: Tensor) -> Tensor:
            return self.head(self.factors.exp() * self.stem(x))  # type: ignore[no-any-return]

    assert find_channels(Computed(4, 1, 1), torch.zeros(2, 1, 8, 8)).layers == {}
