"""Quality control: find faulty files, labels, subjects and splits of a dataset before training."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from functools import partial
from operator import gt
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from stampbench.datasets.dataset_json import Case
from stampbench.datasets.definition import Definition
from stampbench.datasets.errors import DatasetError
from stampbench.datasets.preparation.duplicates import image_digest
from stampbench.datasets.preparation.preprocessing import oriented_to_ras, prepared_labels
from stampbench.datasets.preparation.preprocessing_config import PreprocessingConfig
from stampbench.datasets.preparation.threads import in_threads
from stampbench.datasets.quality.comparisons import compare_cases
from stampbench.datasets.quality.issue import CaseStatistics, QualityIssue, grouped
from stampbench.datasets.quality.overview import OverviewPanel, panel
from stampbench.datasets.readers.reader import CaseReader

_PANELS = 12
"""Number of cases in the overview."""
_SAMPLED = 100_000
"""About so many voxels of a channel are sorted."""


class QualityReport(NamedTuple):
    """Result of quality control.

    Attributes:
        cases: Statistics of the cases that could be read.
        findings: Problems that were found.
        panels: Slices of up to 12 cases for visual inspection.
    """

    cases: list[CaseStatistics]
    findings: list[QualityIssue]
    panels: list[OverviewPanel]


def check_dataset(
    definition: Definition, reader: CaseReader, report: Callable[[int, int], None] = lambda done, total: None
) -> QualityReport:
    """Read every case and report all problems; a case that cannot be read is a finding and does not end the check.

    Args:
        definition: The dataset's definition.
        reader: Reader of its cases.
        report: Called with the number of checked cases and the number of all cases, after each case.
    """
    config = _preprocessing(definition, reader)
    shown = {reader.cases[int(index)].id for index in np.linspace(0, len(reader.cases) - 1, _PANELS).round()}

    def check(case: Case) -> tuple[CaseStatistics, OverviewPanel | None] | QualityIssue:
        return _check_case(reader, case, config, with_panel=case.id in shown)

    cases, findings, panels = [], [], []
    for result in in_threads(check, reader.cases, max(map(partial(_image_bytes, reader), reader.cases)), report):
        if isinstance(result, QualityIssue):
            findings.append(result)
        else:
            cases.append(result[0])
            panels += [result[1]] if result[1] is not None else []
    findings += compare_cases(definition, reader, config, cases)
    return QualityReport(cases, grouped(findings), panels)


def _preprocessing(definition: Definition, reader: CaseReader) -> PreprocessingConfig | None:
    """Return how cases are prepared, from the headers that can be read; None if they do not fit the definition."""
    shapes = []
    for case in reader.cases:
        with suppress(DatasetError):
            shapes.append(reader.shape(case))
    dims = {len(shape) for shape in shapes}
    if len(dims) != 1:
        return None
    config = PreprocessingConfig.of(definition, shapes)
    return config if len(config.size) == config.spatial_dims <= dims.pop() else None


def _check_case(
    reader: CaseReader, case: Case, config: PreprocessingConfig | None, *, with_panel: bool
) -> tuple[CaseStatistics, OverviewPanel | None] | QualityIssue:
    """Return the statistics of a case and its panel if requested, or the issue that prevents reading it.

    Args:
        reader: Reader of the dataset's cases.
        case: The case.
        config: How it is prepared; None: unknown, so that there is no panel.
        with_panel: Whether there is one otherwise.
    """
    try:
        raw = reader.read(case)
    except DatasetError as error:
        return QualityIssue("error", _problem(case, str(error)), error.setting, (case.id,), str(error))
    image, label, spacing = raw.image, raw.label, raw.spacing or (1.0,) * raw.label.ndim
    if raw.affine is not None:
        image, _ = oriented_to_ras(image, raw.affine)
        (label,), spacing = oriented_to_ras(label[None], raw.affine)
    statistics = CaseStatistics(
        id=case.id,
        subject=case.subject,
        shape=label.shape,
        spacing=spacing,
        lowest=float(image.min()),
        highest=float(image.max()),
        constant=tuple(
            name for name, channel in zip(reader.channels, image, strict=True) if channel.min() == channel.max()
        ),
        flattened=tuple(name for name, channel in zip(reader.channels, image, strict=True) if _is_flattened(channel)),
        voxels=tuple(np.bincount(label.ravel(), minlength=len(reader.classes)).tolist()),
        digest=image_digest(raw),
        outside=0.0 if config is None else _share_outside(label, config),
    )
    return statistics, panel(case.id, raw, config) if with_panel and config is not None else None


def _is_flattened(channel: NDArray[np.float32]) -> bool:
    """Return whether 98 % of the voxels span less than a tenth of the standard deviation that they are divided by."""
    sample = channel.ravel()[:: max(1, channel.size // _SAMPLED)]
    low, high = np.quantile(sample, (0.01, 0.99))
    return bool(0 < 10 * (high - low) < channel.std(dtype=np.float64))


def _problem(case: Case, text: str) -> str:
    """Return an error's text without the path of an image or label map of the case, so that equal errors are equal."""
    roles = {"label map": case.label, **{f"image {number}": path for number, path in enumerate(case.images)}}
    for role, path in roles.items():
        if text.startswith(f"{path}: "):
            return f"{role.removesuffix(' 0')}: {text.removeprefix(f'{path}: ')}"
    return text


def _share_outside(label: NDArray[np.uint8], config: PreprocessingConfig) -> float:
    """Return the share of the foreground of a label map `(*spatial)` in RAS orientation that cropping removes."""
    foreground = np.count_nonzero(label)
    if config.fit == "resize" or not foreground or not any(map(gt, label.shape, config.size)):
        return 0.0
    return 1 - np.count_nonzero(prepared_labels(label, config)) / foreground


def _image_bytes(reader: CaseReader, case: Case) -> int:
    """Return the size in bytes of a case's image as float32, or 0 if it cannot be read."""
    try:
        return 4 * len(reader.channels) * reader.voxels(case)
    except DatasetError:
        # Reading the case later reports the error.
        return 0
