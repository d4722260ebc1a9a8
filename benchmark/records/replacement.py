"""Replacement of a finished run by a new one of the same id, at every moment of which one of the two is visible.

No system renames a folder over another one, so two renames are needed. Between them the run's folder is missing, and
the new one is complete beside it; whoever looks for the run then completes the replacement.
"""

from __future__ import annotations

import re
import shutil
from contextlib import suppress
from pathlib import Path

from stampbench.benchmark.records.record_file import RECORD, read_content
from stampbench.datasets.atomic_file import sync_folder

_FORCED = re.compile(r"\.([0-9a-f]{12})\.forced")


def forced_folder(folder: Path) -> Path:
    """Return the hidden folder in which a run is executed again while its older record stays visible."""
    return folder.with_name(f".{folder.name}.forced")


def replaced_runs(root: Path) -> list[Path]:
    """Return the folders of the runs of a store that are being executed again, or were."""
    found = (path.parent for path in root.glob(f"*/*/.*.forced/{RECORD}"))
    return [folder.with_name(match[1]) for folder in found if (match := _FORCED.fullmatch(folder.name))]


def replace_run(folder: Path) -> None:
    """Replace a run by the finished one in its hidden folder.

    Raises:
        OSError: when a folder cannot be renamed.
    """
    replaced = folder.with_name(f".{folder.name}.replaced")
    shutil.rmtree(replaced, ignore_errors=True)
    sync_folder(forced_folder(folder))
    folder.rename(replaced)
    if not complete_replacement(folder) and not (folder / RECORD).is_file():
        raise OSError(f"{forced_folder(folder)} cannot be renamed to {folder}")
    sync_folder(folder.parent)
    shutil.rmtree(replaced, ignore_errors=True)


def complete_replacement(folder: Path) -> bool:
    """Give a missing run the finished record of its hidden folder; return whether that was done.

    Two processes may do it at the same time, of which one succeeds.
    """
    forced = forced_folder(folder)
    if folder.exists() or (read_content(forced / RECORD) or {}).get("status") != "finished":
        return False
    with suppress(OSError):  # also where the store cannot be written
        forced.rename(folder)
        return True
    return False
