"""Images that are larger than what a network was trained on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from monai.inferers import SlidingWindowInferer
from torch import Tensor, nn

_OVERLAP = 0.25
_WINDOWS = 4


def sliding_window(model: nn.Module, window: Sequence[int] | None) -> Callable[[Tensor], Tensor]:
    """Logits of whole images, `(N, channels, *spatial)` to `(N, classes, *spatial)`.

    Windows overlap by a quarter and are blended with Gaussian weights; an image smaller than the window is padded.
    With `window` None the model gets the whole image.
    """
    if window is None:
        return model
    infer = SlidingWindowInferer(tuple(window), sw_batch_size=_WINDOWS, overlap=_OVERLAP, mode="gaussian")
    return lambda images: infer(images, model)  # type: ignore[no-any-return]
