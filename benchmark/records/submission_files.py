"""Files of a submission, before anything in them is read: names of the schema, regular files, bounded sizes."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import get_args

from stampbench.benchmark.records.record_file import MOST_BYTES, RECORD
from stampbench.benchmark.records.schema import FileName

MOST_RUNS = 20_000
"""Most runs of a submission."""
MOST_TOTAL_BYTES = 1 << 36
"""Most bytes of all files of a submission."""

NAMES = frozenset(get_args(FileName))
"""Files of a run whose checksums its record holds."""
_NAMES = {*NAMES, RECORD}
_RUN_DEPTH = 3
_RUN = re.compile("[0-9a-f]{12}")


def find_foreign_files(root: Path) -> Iterator[str]:
    """Yield a line for everything below `root` that is no file of a run; nothing is opened, no link is followed.

    A submission has `<dataset>/<strategy>/<run id>/` and, in each of these folders, the files of a run. After the
    first problem that concerns all of it (too many files, too many bytes), the search ends.
    """
    total, runs = 0, 0
    folders: list[tuple[str, ...]] = [()]
    while folders:
        parts = folders.pop()
        inside = "/".join(parts[_RUN_DEPTH:])
        try:
            with os.scandir(root.joinpath(*parts)) as entries:
                some = islice(entries, MOST_RUNS + 1)
                found = [(entry.name, entry.stat(follow_symlinks=False)) for entry in some]
        except OSError as error:
            yield f"{_shown(root, parts)}: {error.strerror or error}"
            continue
        for name, status in found:
            path, within = (*parts, name), f"{inside}/{name}" if inside else name
            if stat.S_ISDIR(status.st_mode) and _is_folder(path):
                folders.append(path)
                runs += len(path) == _RUN_DEPTH
            elif not stat.S_ISREG(status.st_mode):
                yield f"{_shown(root, path)}: is neither a regular file nor a folder of a run"
            elif len(parts) < _RUN_DEPTH or within not in _NAMES:
                yield f"{_shown(root, path)}: is not a file of a run; delete it"
            elif status.st_size > MOST_BYTES[within]:
                yield f"{_shown(root, path)}: {status.st_size:,} bytes are more than {MOST_BYTES[within]:,}"
            total += status.st_size
        if total > MOST_TOTAL_BYTES or runs > MOST_RUNS or len(found) > MOST_RUNS:
            yield f"{root}: is larger than {MOST_RUNS:,} runs or {MOST_TOTAL_BYTES:,} bytes"
            return


def _is_folder(path: tuple[str, ...]) -> bool:
    """Return whether a folder belongs to a submission."""
    if len(path) < _RUN_DEPTH:
        return not path[-1].startswith(".")
    return bool(_RUN.fullmatch(path[2])) and path[_RUN_DEPTH:] in ((), ("model",))


def _shown(root: Path, parts: tuple[str, ...]) -> str:
    """Return a path as printable text."""
    return repr(str(root.joinpath(*parts)))[1:-1][:500]
