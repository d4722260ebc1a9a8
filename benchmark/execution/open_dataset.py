"""Datasets opened for runs: files verified with progress, and a warning if a split could divide subjects."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from stampbench.benchmark.config.dataset_request import DatasetRequest
from stampbench.benchmark.environment.progress import Progress
from stampbench.datasets.dataset import Dataset
from stampbench.datasets.dataset_json import suspected_pattern


def open_verified(
    request: DatasetRequest, data_root: Path | None, warn: Callable[[str], None], *, quiet: bool = False
) -> Dataset:
    """Open a dataset and compute the checksums of its files.

    Args:
        request: the dataset.
        data_root: folder that holds the named datasets' folders.
        warn: called with a line if case ids look like several images of one subject.
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
    return dataset
