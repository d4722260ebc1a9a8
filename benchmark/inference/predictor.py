"""Prediction of a prepared case's label map."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stampbench.benchmark.config.evaluation_settings import EvaluationSettings
from stampbench.benchmark.inference.label_maps import class_map
from stampbench.benchmark.inference.sliding_window import sliding_window
from stampbench.datasets.preparation.prepared_case import PreparedCase
from stampbench.datasets.preparation.preprocessing import restore

_BATCH = 8


def predict(
    model: nn.Module, case: PreparedCase, device: torch.device, settings: EvaluationSettings
) -> NDArray[np.uint8]:
    """Return the label map of a case before post-processing, in the grid of its reference.

    Slices are stacked into the volume.

    Args:
        model: the network, in evaluation mode, on `device`.
        case: the case, whose images are `(n, channels, *size)`.
        device: where to compute.
        settings: gives the patch size; None in it: the network sees whole images.
    """
    parts, images, infer = [], case.images, sliding_window(model, settings.patch_size)
    with torch.inference_mode():
        for start in range(0, len(images), _BATCH):
            pixels = torch.from_numpy(np.array(images[start : start + _BATCH])).to(device)
            parts.append(class_map(infer(pixels)).cpu())
    return restore(torch.cat(parts).numpy(), case)
