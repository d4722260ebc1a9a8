"""Sliding-window inference on images larger than a network's training patches."""

from __future__ import annotations

from collections.abc import Callable, Sequence

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
    from monai.inferers import SlidingWindowInferer  # it takes a second, which whole images do not need

    infer = SlidingWindowInferer(tuple(size), sw_batch_size=_WINDOWS, overlap=_OVERLAP, mode="gaussian")
    return lambda images: infer(images, model)  # type: ignore[no-any-return]


def whole_or_windows(model: nn.Module, size: Sequence[int] | None) -> Callable[[Tensor], Tensor]:
    """Return the function of `sliding_window`; an image that fits into one window is padded, without blending.

    Args:
        model: the network.
        size: window size in voxels per axis; None: the network gets the whole image.
    """

    def infer(images: Tensor) -> Tensor:
        edges = images.shape[2:]
        if size is None or any(edge > window for edge, window in zip(edges, size, strict=True)):
            return sliding_window(model, size)(images)
        before = [(window - edge) // 2 for edge, window in zip(edges, size, strict=True)]
        margins = [(first, window - edge - first) for first, edge, window in zip(before, edges, size, strict=True)]
        logits: Tensor = model(nn.functional.pad(images, [margin for pair in reversed(margins) for margin in pair]))
        inside = [slice(first, first + edge) for first, edge in zip(before, edges, strict=True)]
        return logits[(slice(None), slice(None), *inside)]

    return infer
