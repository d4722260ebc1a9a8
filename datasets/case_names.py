"""Names of cases and subjects."""

from __future__ import annotations

from collections.abc import Iterable

from stampbench.datasets.dataset_json import Case
from stampbench.datasets.errors import DatasetError

_LONGEST_NAME = 200
"""Bytes of a case id or a subject; folders are named after case ids."""


def check_names(cases: Iterable[Case]) -> None:
    """Check that ids can be shown and written into tables, and that prepared cases lie in the cache.

    Raises:
        DatasetError: when a case id or a subject is no name.
    """
    for case in cases:
        for what, name in (("case id", case.id), ("subject", case.subject)):
            if not (name.isprintable() and 0 < len(name.encode(errors="replace")) <= _LONGEST_NAME) or "/" in name:
                raise DatasetError(
                    f"{case.label}: the {what} {name[:_LONGEST_NAME]!r} is not a name of 1 to {_LONGEST_NAME} "
                    "printable characters without '/'"
                )
