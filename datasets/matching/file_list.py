"""Paths of the files below a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path


def list_files(folder: Path) -> list[str]:
    """Return the paths of all files below a folder, sorted; hidden ones are skipped, links to folders are followed."""
    return sorted(_walk(folder))


def _walk(folder: Path) -> Iterator[str]:
    seen = {os.path.realpath(folder)}
    for parent, folders, names in os.walk(folder, followlinks=True):
        kept = []
        for name in folders:
            real = os.path.realpath(os.path.join(parent, name))  # noqa: PTH118  # a circle of links ends here
            if not name.startswith(".") and real not in seen:
                seen.add(real)
                kept.append(name)
        folders[:] = sorted(kept)
        yield from (Path(parent, name).relative_to(folder).as_posix() for name in names if not name.startswith("."))
