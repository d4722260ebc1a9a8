"""Comparison of two networks that should segment alike."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

from stampbench.benchmark.config.evaluation_settings import EvaluationSettings
from stampbench.benchmark.execution.run import Run
from stampbench.benchmark.measure.agreement import agreement


class Perfect(nn.Module):
    """Predicts the labels that belong to images, but background in the first voxels of the first image of a batch."""

    def __init__(self, labels: dict[float, Tensor], wrong: int = 0) -> None:
        super().__init__()
        self.labels, self.wrong = labels, wrong

    def forward(self, images: Tensor) -> Tensor:
        found = torch.stack([self.labels[float(each.double().sum())] for each in images])
        found[:1].flatten()[: self.wrong] = 0
        return nn.functional.one_hot(found.long(), 4).movedim(-1, 1).float()


def test_equal_labels_and_dice_are_counted(make_run: Callable[..., Run]) -> None:
    run = make_run("standard", "phantom2d:size=16,cases=10")
    cases = list(run.dataset.prepare(run.split.test).values())
    labels = {
        float(torch.from_numpy(np.array(image)).double().sum()): torch.from_numpy(np.array(label))
        for case in cases
        for image, label in zip(case.images, case.labels, strict=True)
    }
    wrong = 16 * 16
    voxels = sum(case.labels.size for case in cases)
    changed = sum(int(np.count_nonzero(case.labels[0])) for case in cases)
    found = agreement(Perfect(labels), Perfect(labels, wrong), cases, run.dataset.classes, EvaluationSettings())
    assert found.before == 1
    assert found.equal == (voxels - changed) / voxels
    present = sum(int((case.labels == value).any()) for case in cases for value in range(1, 4))
    assert found.after == 1 - present / (3 * len(cases))
