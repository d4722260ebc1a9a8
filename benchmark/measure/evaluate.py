"""Held-out test cases, scored one by one in their own grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import nn

from stampbench.benchmark.inference.sliding_window import sliding_window
from stampbench.benchmark.measure.masks import average_hausdorff_set, score_masks
from stampbench.benchmark.training.validation import class_map
from stampbench.datasets.prepared_case import PreparedCase
from stampbench.datasets.preprocessing import restore

_BATCH = 8


def predict(
    model: nn.Module, case: PreparedCase, device: torch.device, window: Sequence[int] | None = None
) -> NDArray[np.uint8]:  # fmt: skip
    """The label map of a case in the grid of its reference; slices are stacked back into the volume."""
    parts, images, infer = [], case.images, sliding_window(model, window)
    with torch.inference_mode():
        for start in range(0, len(images), _BATCH):
            pixels = torch.from_numpy(np.array(images[start : start + _BATCH])).to(device)
            parts.append(class_map(infer(pixels)).cpu())
    return restore(torch.cat(parts).numpy(), case)


def largest_components(prediction: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Of each class only its largest face-connected part (PocketNet's post-processing)."""
    kept = np.zeros_like(prediction)
    for value in np.unique(prediction[prediction > 0]):
        parts, _ = ndimage.label(prediction == value)
        largest = np.bincount(parts.ravel())[1:].argmax() + 1
        kept[parts == largest] = value
    return kept


def evaluate(
    model: nn.Module,
    cases: Sequence[PreparedCase],
    classes: Sequence[str],
    device: torch.device,
    report: Callable[[int, int], None] = lambda done, of: None,
    *,
    postprocessing: str = "none",
    tolerance: float = 1.0,
    set_distance: bool = False,
    window: Sequence[int] | None = None,
) -> list[dict[str, Any]]:
    """A row per case and foreground class: Dice, distances, voxel counts, and which mask was empty.

    `postprocessing` is `none` or `largest_component`, `tolerance` that of the NSD; `set_distance` adds PocketNet's
    `average_hausdorff_set`; `window` is the patch that the network was trained on, if it was.
    """
    model.eval()
    rows: list[dict[str, Any]] = []
    threads = torch.get_num_threads()

    def score(prediction: NDArray[np.uint8], case: PreparedCase) -> list[dict[str, Any]]:
        if postprocessing == "largest_component":
            prediction = largest_components(prediction)
        return list(_score_case(prediction, case, classes, tolerance, set_distance))

    # As many cases at a time as there are threads: first the network has them all, then the distances.
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(cases), threads):
            some = cases[start : start + threads]
            predictions = [predict(model, case, device, window) for case in some]
            for scored in pool.map(score, predictions, some):
                rows += scored
            report(start + len(some), len(cases))
    return rows


def _score_case(
    prediction: NDArray[np.uint8], case: PreparedCase, classes: Sequence[str], tolerance: float, set_distance: bool
) -> Iterator[dict[str, Any]]:
    reference = np.asarray(case.reference)
    for value, name in enumerate(classes[1:], start=1):
        predicted, labelled = prediction == value, reference == value
        scores = score_masks(predicted, labelled, case.spacing, tolerance)
        yield {
            "case": case.id,
            "subject": case.subject,
            "class": name,
            **scores._asdict(),
            **(
                {"average_hausdorff_set": average_hausdorff_set(predicted, labelled, case.spacing)}
                if set_distance
                else {}
            ),
            "predicted_voxels": int(np.count_nonzero(predicted)),
            "reference_voxels": int(np.count_nonzero(labelled)),
        }
