"""Label maps: classes from logits, and post-processing."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from stampbench.benchmark.config.protocol import Postprocessing


def class_map(logits: Tensor) -> Tensor:
    """Return the class of the largest logit; of equal logits, the first class.

    PyTorch's argmax over the second axis is up to a hundred times slower on a CPU.

    Args:
        logits: `(N, classes, *spatial)`.

    Returns:
        `(N, *spatial)` uint8.
    """
    largest = logits[:, 0].clone()
    chosen = torch.zeros_like(largest, dtype=torch.uint8)
    for number in range(1, logits.shape[1]):
        # A later class has a larger number, so the maximum replaces the class chosen before.
        torch.maximum(chosen, (logits[:, number] > largest).to(torch.uint8) * number, out=chosen)
        torch.maximum(largest, logits[:, number], out=largest)
    return chosen


def postprocess(prediction: NDArray[np.uint8], method: Postprocessing) -> NDArray[np.uint8]:
    """Return a label map `(*spatial)` after post-processing."""
    return largest_components(prediction) if method == "largest_component" else prediction


def largest_components(prediction: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Keep of each class only its largest face-connected component (PocketNet's post-processing)."""
    from scipy import ndimage  # it takes as long as predicting some cases, and few protocols ask for it

    kept = np.zeros_like(prediction)
    for value in np.unique(prediction[prediction > 0]):
        components, _ = ndimage.label(prediction == value)
        largest = np.bincount(components.ravel())[1:].argmax() + 1
        kept[components == largest] = value
    return kept
