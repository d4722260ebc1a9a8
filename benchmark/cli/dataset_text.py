"""Texts that `stampbench datasets` prints: image sizes, descriptions, and tables of a dataset's cases."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from stampbench.datasets.dataset import Dataset
    from stampbench.datasets.definition import Definition
    from stampbench.datasets.quality.control import QualityReport
    from stampbench.datasets.readers.reader import CaseReader

CATALOGUE_TITLES = {
    "name": "name", "networks_see": "networks see", "arrives_as": "arrives as", "here": "here", "what": "what",
    "test_subjects": "test subjects", "licence": "licence", "citation": "citation",
}  # fmt: skip
"""Columns of the table of datasets with their headings."""
CATALOGUE_SHORT = ("name", "networks_see", "here", "what")


def form(definition: Definition) -> str:
    """Return what networks see of a dataset: dims and image size."""
    if definition.phantom is not None:
        return f"{definition.spatial_dims}D {'×'.join([str(definition.phantom.size)] * (definition.spatial_dims or 2))}"
    size = "×".join(map(str, definition.size)) if definition.size else "as it is"
    if definition.spatial_dims == 3 and definition.size is None:
        return "3D, in patches"
    return f"{definition.spatial_dims}D {size}" if definition.spatial_dims else size


def catalogue_rows(data_root: Path | None) -> list[tuple[str, ...]]:
    """Return a row per dataset of the catalogue, with the columns of `CATALOGUE_TITLES`.

    Args:
        data_root: folder that holds the datasets' folders.
    """
    from stampbench.datasets.catalogue import CATALOGUE
    from stampbench.datasets.readers.path_pattern import is_here

    return [
        (
            name, form(each), each.arrival,
            "yes" if each.phantom is not None or (data_root is not None and is_here(each, data_root)) else "no",
            each.summary, str(each.test_subjects or "a quarter"), each.licence, each.citation,
        )
        for name, each in CATALOGUE.items()
    ]  # fmt: skip


def describe(dataset: Dataset) -> dict[str, str]:
    """Return facts about an opened dataset by name."""
    from stampbench.datasets.split import pool

    definition, reader = dataset.definition, dataset.reader
    test, training = pool(definition, dataset.images)
    prepared = "padded or cropped to it" if definition.fit == "pad" else "resized to it"
    clip = "" if definition.clip_range is None else ", clipped to {:g} to {:g}".format(*definition.clip_range)
    patch = f", trained in patches of {'×'.join(map(str, dataset.patch))}" if dataset.patch else ""
    return {
        "licence": reader.licence,
        "citation": reader.citation or "none given",
        "folder": str(dataset.folder or "generated"),
        "images": f"{dataset.spatial_dims}D, {'×'.join(map(str, dataset.size))}: {prepared}{clip}{patch}",
        "distances": f"in {dataset.unit}",
        "channels": ", ".join(dataset.channels),
        "classes": ", ".join(f"{value} {label}" for value, label in enumerate(dataset.classes)),
        "cases": f"{len(reader.cases)} of {len({case.subject for case in reader.cases})} subjects",
        "split": f"{len(test)} test subjects; {len(training)} training images of the others",
    }


def case_tables(name: str, reader: CaseReader, report: QualityReport) -> str:
    """Return tables of sizes and intensities of the cases, and of the frequency of classes, as markdown."""
    import numpy as np
    from tabulate import tabulate

    if not report.cases:
        return "no case could be read"

    def spread(values: list[tuple[float, ...]]) -> tuple[str, ...]:
        return tuple(" × ".join(f"{edge:g}" for edge in row) for row in np.quantile(values, (0, 0.5, 1), axis=0))

    cases = report.cases
    rows = [
        ("size in voxels", *spread([case.shape for case in cases])),
        ("voxel in mm" if len(cases[0].shape) == 3 else "pixel", *spread([case.spacing for case in cases])),
        ("lowest intensity", *spread([(case.lowest,) for case in cases])),
        ("highest intensity", *spread([(case.highest,) for case in cases])),
    ]
    voxels = np.array([case.voxels for case in cases], dtype=float)
    share = voxels / voxels.sum(1, keepdims=True)
    frequencies = [
        (value, label, int((of > 0).sum()), f"{of.mean():.2%}", f"{of.min():.2%}", f"{of.max():.2%}")
        for value, (label, of) in enumerate(zip(reader.classes, share.T, strict=True))
    ]
    subjects = len({case.subject for case in reader.cases})
    return "\n\n".join(
        (
            f"{name}: {len(reader.cases)} cases of {subjects} subjects, {len(cases)} of them readable",
            tabulate(rows, ("per case and axis", "smallest", "median", "largest"), tablefmt="github"),
            tabulate(frequencies, ("", "class", "cases with it", "mean share", "least", "most"), tablefmt="github"),
            "",
        )
    )
