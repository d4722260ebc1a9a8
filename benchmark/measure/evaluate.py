"""Evaluation of held-out test cases, each scored in its own grid."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from stampbench.benchmark.config.evaluation_settings import EvaluationSettings
from stampbench.benchmark.inference.label_maps import postprocess
from stampbench.benchmark.inference.predictor import predict
from stampbench.benchmark.measure.case_score import CaseScore
from stampbench.benchmark.measure.masks import average_hausdorff_set, class_dice, score_masks
from stampbench.datasets.preparation.prepared_case import PreparedCase


def evaluate(
    model: nn.Module,
    cases: Sequence[PreparedCase],
    classes: Sequence[str],
    device: torch.device,
    settings: EvaluationSettings,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> list[CaseScore]:
    """Segment and score test cases.

    Args:
        model: the network, on `device`; it is put into evaluation mode.
        cases: prepared test cases.
        classes: names of all classes, background first.
        device: where to compute.
        settings: patch size, post-processing, tolerance and optional scores.
        report: called with the number of scored cases and the number of all.

    Returns:
        A row per case and foreground class, in the order of cases.
    """
    model.eval()
    rows: list[CaseScore] = []
    threads = torch.get_num_threads()

    def score(prediction: NDArray[np.uint8], case: PreparedCase) -> list[CaseScore]:
        return list(_score_case(postprocess(prediction, settings.postprocessing), case, classes, settings))

    # As many cases at a time as there are threads: first the network uses all threads, then the distances do.
    with ThreadPoolExecutor(threads) as pool:
        for start in range(0, len(cases), threads):
            chunk = cases[start : start + threads]
            predictions = [predict(model, case, device, settings) for case in chunk]
            for scored in pool.map(score, predictions, chunk):
                rows += scored
            report(start + len(chunk), len(cases))
    return rows


def mean_dice(
    model: nn.Module,
    cases: Sequence[PreparedCase],
    classes: Sequence[str],
    device: torch.device,
    settings: EvaluationSettings,
) -> float:
    """Return the mean Dice over cases and foreground classes, without the distances that take most of the time.

    Args:
        model: the network, on `device`, in evaluation mode.
        cases: prepared cases.
        classes: names of all classes, background first.
        device: where to compute.
        settings: patch size and post-processing.
    """
    scores = []
    for case in cases:
        prediction = postprocess(predict(model, case, device, settings), settings.postprocessing)
        scores += class_dice(prediction, np.asarray(case.reference), len(classes))
    return sum(scores) / len(scores)


def _score_case(
    prediction: NDArray[np.uint8], case: PreparedCase, classes: Sequence[str], settings: EvaluationSettings
) -> Iterator[CaseScore]:
    label_map = np.asarray(case.reference)
    for value, name in enumerate(classes[1:], start=1):
        predicted, reference = prediction == value, label_map == value
        scores = score_masks(predicted, reference, case.spacing, settings.surface_tolerance)
        average = average_hausdorff_set(predicted, reference, case.spacing) if settings.average_hausdorff else None
        yield CaseScore(
            case=case.id,
            subject=case.subject,
            class_name=name,
            **scores._asdict(),
            average_hausdorff_set=average,
            predicted_voxels=int(np.count_nonzero(predicted)),
            reference_voxels=int(np.count_nonzero(reference)),
        )
