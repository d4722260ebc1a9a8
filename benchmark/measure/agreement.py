"""Comparison of a network with another one that should segment alike, such as its quantised form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from stampbench.benchmark.config.evaluation_settings import EvaluationSettings
from stampbench.benchmark.inference.label_maps import postprocess
from stampbench.benchmark.inference.predictor import predict
from stampbench.benchmark.measure.masks import class_dice
from stampbench.datasets.preparation.prepared_case import PreparedCase

_CPU = torch.device("cpu")


class Agreement(NamedTuple):
    """Share of voxels with equal labels, and mean Dice over cases and foreground classes before and after."""

    equal: float
    before: float
    after: float


def agreement(
    before: nn.Module,
    after: nn.Module,
    cases: Sequence[PreparedCase],
    classes: Sequence[str],
    settings: EvaluationSettings,
) -> Agreement:
    """Compare the label maps of two networks on the CPU.

    Args:
        before: a network, in evaluation mode.
        after: another one.
        cases: prepared cases.
        classes: names of all classes, background first.
        settings: patch size and post-processing.
    """
    equal = voxels = 0
    scores: list[list[float]] = [[], []]
    for case in cases:
        reference = np.asarray(case.reference)
        maps = [postprocess(predict(each, case, _CPU, settings), settings.postprocessing) for each in (before, after)]
        equal += int(np.count_nonzero(maps[0] == maps[1]))
        voxels += maps[0].size
        for found, prediction in zip(scores, maps, strict=True):
            found += class_dice(prediction, reference, len(classes))
    return Agreement(equal / voxels, *(sum(found) / len(found) for found in scores))
