"""Networks with as many parameters as a U-Net."""

from __future__ import annotations

import pytest

from stampbench.models.architecture import UNetArchitecture
from stampbench.models.errors import ModelError
from stampbench.models.model import parameter_count
from stampbench.models.network_size import of_size
from stampbench.models.registry import NETWORKS
from stampbench.models.tracing.traced_architecture import TracedArchitecture


def parameters(name: str, size: int, spatial_dims: int) -> int:
    network = of_size(name, NETWORKS[name].load()(), size, spatial_dims, 1, 2)
    return parameter_count(TracedArchitecture.unpruned(name, network, spatial_dims, 1, 2))


@pytest.mark.parametrize(
    ("name", "size", "spatial_dims"), [("half_unet", 4, 2), ("simple_unet", 32, 3), ("tiny_unet", 4, 3)]
)
def test_sizes_are_those_of_unets(name: str, size: int, spatial_dims: int) -> None:
    wanted = parameter_count(UNetArchitecture.doubling(spatial_dims, 1, 2, f=size))
    assert parameters(name, size, spatial_dims) == pytest.approx(wanted, rel=0.25)


def test_no_other_width_is_nearer() -> None:
    network = NETWORKS["half_unet"].load()
    chosen = of_size("half_unet", network(ghost=False), 4, 2, 1, 2)
    assert (chosen.ghost, chosen.f) == (False, 34)
    counts = {
        f: parameter_count(TracedArchitecture.unpruned("half_unet", network(ghost=False, f=f), 2, 1, 2))
        for f in (32, 34, 36)
    }
    assert min(counts, key=lambda f: abs(counts[f] - 122_394)) == 34


def test_a_network_without_such_a_size_is_refused() -> None:
    with pytest.raises(
        ModelError, match=r"network 'flexible_unet': size=4 stands for 122,394 parameters, and the near"
    ):
        of_size("flexible_unet", NETWORKS["flexible_unet"].load()(), 4, 2, 1, 2)
