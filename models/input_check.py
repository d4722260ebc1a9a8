"""Check of the images that a network gets."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from stampbench.models.errors import ModelError


def check_images(x: Tensor, in_channels: int, divisors: Sequence[int]) -> None:
    """Check that images `(N, in_channels, *spatial)` fit a network.

    Args:
        x: The images.
        in_channels: Channels that the network reads.
        divisors: For each spatial axis, the number that its size must be a multiple of.

    Raises:
        ModelError: when they do not.
    """
    if x.ndim != len(divisors) + 2 or x.shape[1] != in_channels:
        raise ModelError(
            f"input of shape {tuple(x.shape)}: the network expects (N, {in_channels}, "
            f"{', '.join(['size'] * len(divisors))})"
        )
    if any(size % divisor for size, divisor in zip(x.shape[2:], divisors, strict=True)):
        same = len(set(divisors)) == 1
        wanted = f"every size must be a multiple of {divisors[0]}" if same else f"sizes must be multiples of {divisors}"
        raise ModelError(f"input of size {tuple(x.shape[2:])}: {wanted}")
