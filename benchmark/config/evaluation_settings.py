"""Evaluation settings: how test cases are segmented and scored."""

from __future__ import annotations

from pydantic import BaseModel

from stampbench.benchmark.config.dataset_description import DatasetDescription
from stampbench.benchmark.config.protocol import Postprocessing
from stampbench.benchmark.config.spec import RunSpec


class EvaluationSettings(BaseModel, frozen=True):
    """Settings that a run, its later re-evaluation and predictions on new images share.

    Attributes:
        patch_size: patch size in voxels of the network's training, which is the sliding window; None: whole images.
        image_size: image size in voxels of the network's training.
        postprocessing: `largest_component` keeps of each class its largest face-connected component.
        surface_tolerance: tolerance of the normalised surface Dice, in the dataset's unit.
        average_hausdorff: whether cases get PocketNet's average Hausdorff distance too.
    """

    patch_size: tuple[int, ...] | None = None
    image_size: tuple[int, ...] | None = None
    postprocessing: Postprocessing = "none"
    surface_tolerance: float = 1.0
    average_hausdorff: bool = False

    @classmethod
    def of(cls, spec: RunSpec, dataset: DatasetDescription) -> EvaluationSettings:
        """Return the settings of a run."""
        return cls(
            patch_size=spec.dataset.patch,
            image_size=spec.dataset.size,
            postprocessing=spec.protocol.postprocessing,
            surface_tolerance=dataset.surface_tolerance,
            average_hausdorff=spec.protocol.average_hausdorff,
        )
