"""Evaluation settings of a run."""

from __future__ import annotations

from collections.abc import Callable

from stampbench.benchmark.config.dataset_description import DatasetDescription
from stampbench.benchmark.config.evaluation_settings import EvaluationSettings
from stampbench.benchmark.execution.run import Run


def test_protocol_and_dataset_give_the_settings(make_run: Callable[..., Run]) -> None:
    run = make_run("pocket_unet", "phantom3d:size=16,cases=8", protocol="pocketnet")
    described = DatasetDescription.of(run.dataset).model_copy(update={"surface_tolerance": 2.5})
    assert EvaluationSettings.of(run.spec, described) == EvaluationSettings(
        patch_size=None,
        image_size=(16, 16, 16),
        postprocessing="largest_component",
        surface_tolerance=2.5,
        average_hausdorff=True,
    )


def test_other_protocols_have_no_postprocessing_and_no_average_hausdorff(make_run: Callable[..., Run]) -> None:
    run = make_run("standard", "phantom2d:size=16,cases=10")
    settings = EvaluationSettings.of(run.spec, DatasetDescription.of(run.dataset))
    assert settings == EvaluationSettings(image_size=(16, 16))
    assert (settings.postprocessing, settings.average_hausdorff, settings.surface_tolerance) == ("none", False, 1.0)


def test_patch_size_is_the_sliding_window(make_run: Callable[..., Run]) -> None:
    spec = make_run("standard").spec
    on_patches = spec.model_copy(update={"dataset": spec.dataset.model_copy(update={"patch": (8, 8)})})
    described = DatasetDescription.of(make_run("standard").dataset)
    settings = EvaluationSettings.of(on_patches, described)
    assert (settings.patch_size, settings.image_size) == ((8, 8), (16, 16))
