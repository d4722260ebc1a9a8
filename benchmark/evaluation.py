"""Held-out test cases, scored one by one in their own grid."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import nn

from stampbench.benchmark.metrics import score_masks
from stampbench.benchmark.validation import class_map
from stampbench.datasets.prepare import PreparedCase, restore

_BATCH = 8


def predict(model: nn.Module, case: PreparedCase, device: torch.device) -> NDArray[np.uint8]:
    """The label map of a case in the grid of its reference; slices are stacked back into the volume."""
    parts = []
    with torch.inference_mode():
        for start in range(0, len(case.images), _BATCH):
            pixels = torch.from_numpy(np.array(case.images[start : start + _BATCH])).to(device)
            parts.append(class_map(model(pixels)).cpu())
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
) -> list[dict[str, Any]]:
    """A row per case and foreground class: Dice, distances, voxel counts, and which mask was empty.

    `postprocessing` is `none` or `largest_component`.
    """
    model.eval()
    rows: list[dict[str, Any]] = []
    threads = torch.get_num_threads()
    # While the network predicts a case, distances of those before it are computed; not too many wait in memory.
    pending: deque[Future[list[dict[str, Any]]]] = deque()

    def collect(predicted: int, most_pending: int) -> None:
        while len(pending) > most_pending:
            rows.extend(pending.popleft().result())
            report(predicted - len(pending), len(cases))

    with ThreadPoolExecutor(threads) as pool:
        for predicted, case in enumerate(cases, start=1):
            prediction = predict(model, case, device)
            pending.append(pool.submit(_score, prediction, case, classes, postprocessing))
            collect(predicted, most_pending=2 * threads)
        collect(len(cases), most_pending=0)
    return rows


def _score(
    prediction: NDArray[np.uint8], case: PreparedCase, classes: Sequence[str], postprocessing: str
) -> list[dict[str, Any]]:
    if postprocessing == "largest_component":
        prediction = largest_components(prediction)
    return list(_score_case(prediction, case, classes))


def _score_case(prediction: NDArray[np.uint8], case: PreparedCase, classes: Sequence[str]) -> Iterator[dict[str, Any]]:
    reference = np.asarray(case.reference)
    for value, name in enumerate(classes[1:], start=1):
        predicted, labelled = prediction == value, reference == value
        scores = score_masks(predicted, labelled, case.spacing)
        yield {
            "case": case.id,
            "subject": case.subject,
            "class": name,
            **scores._asdict(),
            "predicted_voxels": int(np.count_nonzero(predicted)),
            "reference_voxels": int(np.count_nonzero(labelled)),
        }
