"""Sliding-window inference on images larger than a network's training patches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from monai.inferers import SlidingWindowInferer
from torch import Tensor, nn

_OVERLAP = 0.25
_WINDOWS = 4
"""Windows that the network computes at a time."""


def sliding_window(model: nn.Module, size: Sequence[int] | None) -> Callable[[Tensor], Tensor]:
    """Return a function from images `(N, channels, *spatial)` to logits `(N, classes, *spatial)`.

    Windows overlap by a quarter and are blended with Gaussian weights; an image smaller than the window is padded.

    Args:
        model: the network.
        size: window size in voxels per axis; None: the network gets the whole image.
    """
    if size is None:
        return model
    infer = SlidingWindowInferer(tuple(size), sw_batch_size=_WINDOWS, overlap=_OVERLAP, mode="gaussian")
    return lambda images: infer(images, model)  # type: ignore[no-any-return]
