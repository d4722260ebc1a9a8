"""Validation loss and Dice."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from stampbench.benchmark.execution.run import Run
from stampbench.benchmark.training.fold_data import Images
from stampbench.benchmark.training.validation import validate
from stampbench.strategies.testing import CountingTrainer

MakeTrainer = Callable[..., CountingTrainer]


def test_validation_dice_is_the_mean_over_cases_and_classes_with_empty_masks_as_1(
    make_run: Callable[..., Run], make_trainer: MakeTrainer, tmp_path: Path
) -> None:
    trainer = make_trainer(make_run("standard"), tmp_path)
    trainer.train(2)
    images = trainer.session.data.validation
    predicted = trainer.model.eval()(images.pixels).argmax(1)
    scores = []
    for prediction, label in zip(predicted, images.labels, strict=True):
        for c in (1, 2, 3):
            p, t = prediction == c, label == c
            scores.append(1.0 if not (p.any() or t.any()) else float(2 * (p & t).sum() / (p.sum() + t.sum())))
    assert trainer.validate().dice == pytest.approx(sum(scores) / len(scores))


def test_validation_uses_sliding_windows_of_the_patch_size() -> None:
    shapes = list[tuple[int, ...]]()

    class ShapeRecorder(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            shapes.append(tuple(images.shape[2:]))
            return torch.cat([images, -images], dim=1)

    labels = torch.zeros(2, 8, 8, dtype=torch.uint8)
    labels[:, 4:6, 4:6] = 1
    images = Images(torch.arange(128.0).view(2, 1, 8, 8), labels, torch.arange(2))
    validate(ShapeRecorder(), images, 2, lambda logits, labels: logits.mean(), 2, patch_size=(4, 4))
    assert set(shapes) == {(4, 4)}
    shapes.clear()
    validate(ShapeRecorder(), images, 2, lambda logits, labels: logits.mean(), 2)
    assert shapes == [(8, 8)]


@pytest.mark.parametrize("classes", [3, 20, 120])  # cells that are counted in 8, 16 and 32 bits
def test_batches_across_cases_are_counted_as_cases_one_by_one_would_be(classes: int) -> None:
    """Slices of four cases, not in order, in batches of three; the counts of each case come from a loop over slices."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(8, classes, 6, 5, generator=generator)
    labels = torch.randint(0, classes, (8, 6, 5), generator=generator).to(torch.uint8)
    cases = torch.tensor([0, 2, 0, 1, 3, 3, 1, 2])
    predicted = logits.argmax(1)
    expected = []
    for c in range(1, classes):
        scores = []
        for case in range(4):
            p, t = predicted[cases == case] == c, labels[cases == case] == c
            scores.append(float(2 * (p & t).sum() / (p.sum() + t.sum())) if p.any() or t.any() else 1.0)
        expected.append(sum(scores) / 4)
    images = Images(logits, labels, cases)
    scored = validate(torch.nn.Identity(), images, classes, lambda logits, labels: logits.mean(), 3)
    assert scored.dice == pytest.approx(tuple(expected), rel=1e-6)


def test_class_without_a_correct_voxel_is_marked_even_if_a_case_lacks_it() -> None:
    """Everything is predicted as background; one of two cases has no class 2, so that its Dice is 1 there."""
    labels = torch.zeros(2, 8, 8, dtype=torch.uint8)
    labels[:, :2] = 1
    labels[0, 4:] = 2
    images = Images(torch.zeros(2, 1, 8, 8), labels, torch.tensor([0, 1]))

    class Background(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.stack([x[:, 0] + 1, x[:, 0], x[:, 0], x[:, 0]], 1)

    scored = validate(Background(), images, 4, lambda logits, labels: logits.mean(), 2)
    assert scored.dice == (0.0, 0.5, 1.0)
    assert scored.vanished == (True, True, False)  # no label contains class 3
