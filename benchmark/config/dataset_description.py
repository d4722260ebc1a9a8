"""Description of a dataset that every record holds: classes, units and preprocessing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import BaseModel, Field

from stampbench.benchmark.config.bounds import Amount, Count, Distance, Fraction
from stampbench.datasets.preparation.preprocessing_config import PreprocessingConfig

if TYPE_CHECKING:
    from stampbench.datasets.dataset import Dataset

_Name = Annotated[str, Field(max_length=500)]


class DatasetDescription(BaseModel, frozen=True):
    """A dataset's names, classes and conventions; none of it belongs to a run's id."""

    called: _Name | None = Field(None, description="the dataset as a user names it; a folder by its name only")
    source: Annotated[str, Field(max_length=4096)] | None = Field(
        None, description="folder or definition file on the machine that trained it, a hint; null: a named dataset"
    )
    subject_pattern: _Name | None = Field(None, description="regular expression whose first group is the subject")
    summary: str = Field("", description="one line about the dataset")
    licence: str = Field("", description="licence of the images")
    synthetic: bool = Field(description="whether the images are generated")
    unit: _Name = Field(description="unit of distances: mm; px in pictures; voxel if spacing was lost")
    surface_tolerance: Distance = Field(1.0, description="tolerance of the normalised surface Dice, in the unit")
    equivalence_margin: Fraction = Field(0.01, description="Dice within which two strategies count as equivalent")
    channels: list[_Name] = Field(min_length=1, max_length=1000, description="names of the channels")
    classes: list[_Name] = Field(min_length=2, max_length=256, description="names of the classes, background first")
    values: list[Annotated[int, Field(ge=-(2**31), lt=2**32)]] = Field(
        max_length=256, description="label value of each class in the files"
    )
    image_sizes: list[list[Count]] | None = Field(
        None, description="smallest and largest edges of the images in voxels; null: an older record"
    )
    spacings: list[list[Amount]] | None = Field(
        None, description="smallest and largest voxel edges of volumes in mm; null: unknown"
    )
    spacing: list[Amount] | None = Field(
        None, description="median edges in mm of the voxels that networks see; null: unknown, or an older record"
    )
    preprocessing: PreprocessingConfig = Field(description="how images were prepared")

    @classmethod
    def of(cls, dataset: Dataset) -> DatasetDescription:
        """Describe an opened dataset."""
        definition, phantom = dataset.definition, dataset.definition.phantom
        return cls(
            # A folder has another path on every machine.
            called=f"{dataset.name}:size={phantom.size},cases={phantom.cases}" if phantom else dataset.name,
            source=None if definition.source is None else _without_home(definition.source),
            subject_pattern=definition.subject_pattern,
            summary=definition.summary,
            licence=dataset.reader.licence if dataset.folder else definition.licence,
            synthetic=definition.synthetic,
            unit=dataset.unit,
            surface_tolerance=definition.surface_tolerance,
            equivalence_margin=definition.equivalence_margin,
            channels=list(dataset.channels),
            classes=list(dataset.classes),
            values=list(dataset.reader.values),
            image_sizes=[list(edges) for edges in dataset.image_sizes],
            spacings=[list(edges) for edges in dataset.spacings] or None,
            spacing=None if dataset.spacing is None else list(dataset.spacing),
            preprocessing=dataset.preprocessing,
        )


def _without_home(path: str) -> str:
    """Return a path below the home folder with `~`, because records are shared and a home folder names its user."""
    home = str(Path.home())
    return f"~{path.removeprefix(home)}" if Path(path).is_relative_to(home) else path
