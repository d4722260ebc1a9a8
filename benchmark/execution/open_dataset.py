"""Datasets opened for runs: files verified with progress, and warnings of what would make results misleading."""

from __future__ import annotations

from collections.abc import Callable
from operator import gt
from pathlib import Path

from stampbench.benchmark.config.dataset_request import DatasetRequest
from stampbench.benchmark.environment.progress import Progress
from stampbench.datasets.catalogue import CATALOGUE
from stampbench.datasets.dataset import Dataset
from stampbench.datasets.dataset_json import suspected_pattern


def open_verified(
    request: DatasetRequest, data_root: Path | None, warn: Callable[[str], None], *, quiet: bool = False
) -> Dataset:
    """Open a dataset and compute the checksums of its files.

    Args:
        request: the dataset.
        data_root: folder that holds the named datasets' folders.
        warn: called with a line if case ids look like several images of one subject, or if images are cropped to a
            size that is not part of a named dataset.
        quiet: whether no progress is shown.

    Raises:
        UserError: when the name is not known or the form does not fit.
        DatasetError: when its files are absent or not usable.
    """
    dataset = request.open(data_root)
    with Progress(dataset.name, 1, quiet=quiet) as progress:
        dataset.verify(lambda done, total: progress.case(done, total, "reading"))
    cases = dataset.reader.cases
    if (pattern := suspected_pattern(cases)) is not None:
        warn(
            f"{dataset.name}: ids such as '{cases[0].id}' look like several images of a subject; "
            f"the subject pattern '{pattern}' keeps them on one side of the split"
        )
    if request.image_size is not None or dataset.name not in CATALOGUE:
        _warn_of_cropping(dataset, warn)
    return dataset


def _warn_of_cropping(dataset: Dataset, warn: Callable[[str], None]) -> None:
    edges = dataset.image_sizes[1][: dataset.spatial_dims]
    if dataset.preprocessing.fit == "pad" and any(map(gt, edges, dataset.size)):
        largest, size = ("×".join(map(str, each)) for each in (edges, dataset.size))
        warn(
            f"{dataset.name}: images of up to {largest} are cropped to {size} around their centre; the fit 'resize' "
            "keeps them whole, and 'datasets check' says how much of the foreground is outside"
        )
