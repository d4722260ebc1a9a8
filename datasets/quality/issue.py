"""Problems of a dataset that quality control finds, and what it measures of each case."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, NamedTuple

_SHOWN = 5
"""Most ids of cases that a problem lists."""


class QualityIssue(NamedTuple):
    """A problem of a dataset.

    Attributes:
        level: An error makes results wrong or a run impossible; a warning should be inspected.
        text: The problem in one line, without the case.
        setting: Name of the setting that a user can change to mend it, such as `subject_pattern`; None: none.
        cases: Ids of the cases with this problem; empty if it is one of the whole dataset.
        located: The problem with the path of the file, which is shown if only one case has it; empty: `text`.
    """

    level: Literal["error", "warning"]
    text: str
    setting: str | None = None
    cases: tuple[str, ...] = ()
    located: str = ""

    def __str__(self) -> str:
        if len(self.cases) < 2:
            return f"case '{self.cases[0]}': {self.located or self.text}" if self.cases else self.text
        more = ", …" if len(self.cases) > _SHOWN else ""
        return f"{len(self.cases)} cases: {self.text} ({', '.join(self.cases[:_SHOWN])}{more})"


class CaseStatistics(NamedTuple):
    """Statistics of a case, with axes in RAS order.

    Attributes:
        id: Case id.
        subject: Subject id.
        shape: Spatial shape in voxels.
        spacing: Voxel size in mm, or 1 per axis for 2D images.
        lowest: Lowest intensity of all channels.
        highest: Highest intensity of all channels.
        constant: Names of the channels that have a single value.
        flattened: Names of the channels in which a few extreme voxels leave no contrast to the others.
        voxels: Number of voxels by class index.
        digest: SHA-256 checksum of the image's shape and voxels.
        outside: Share of the foreground that networks do not see, because images are cropped to a size.
    """

    id: str
    subject: str
    shape: tuple[int, ...]
    spacing: tuple[float, ...]
    lowest: float
    highest: float
    constant: tuple[str, ...]
    flattened: tuple[str, ...]
    voxels: tuple[int, ...]
    digest: str
    outside: float


def grouped(issues: Iterable[QualityIssue]) -> list[QualityIssue]:
    """Return issues such that each problem occurs once, with all cases that have it."""
    groups: dict[tuple[str, str], QualityIssue] = {}
    for issue in issues:
        known = groups.get((issue.level, issue.text))
        cases = (*(known.cases if known else ()), *issue.cases)
        groups[issue.level, issue.text] = issue._replace(cases=cases)
    return list(groups.values())
