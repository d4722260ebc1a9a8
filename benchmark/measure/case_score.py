"""The scores of one test case and one foreground class."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from stampbench.benchmark.config.bounds import Count, Distance, Finite, Fraction

Empty = Literal["", "both", "reference", "prediction"]
"""Which of a prediction and a reference has no voxel."""


class CaseScore(BaseModel):
    """A row of `cases.csv`: the scores of one test case and one foreground class."""

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    case: str = Field(description="id of the case")
    subject: str = Field(description="id of the subject")
    class_name: str = Field(alias="class", description="name of the foreground class")
    dice: Fraction = Field(description="Dice, 0 to 1; both masks empty: 1")
    hausdorff: Distance = Field(description="Hausdorff distance in the unit; one mask empty: the image's diagonal")
    hd95: Distance = Field(description="larger of the two directed 95th percentiles of surface distances, in the unit")
    msd: Distance = Field(description="symmetric mean surface distance, in the unit")
    nsd: Fraction = Field(description="normalised surface Dice at the dataset's tolerance, 0 to 1")
    volume_error: Finite = Field(description="predicted minus reference volume (2D: area), in the unit cubed (squared)")
    empty: Empty = Field(description="which masks have no voxel: none (empty text), both, reference or prediction")
    average_hausdorff_set: Distance | None = Field(
        None, description="PocketNet's average Hausdorff distance, in the unit; only under protocols that ask for it"
    )
    predicted_voxels: Count = Field(description="voxels of the prediction")
    reference_voxels: Count = Field(description="voxels of the reference")
