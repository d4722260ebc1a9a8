"""Journal of a strategy's finished calls, which makes any strategy resumable.

To resume, the strategy runs again from its start. Calls that the journal holds return what they returned before, and
the first call beyond it finds weights, optimiser and random states as they were. So a strategy needs no code for
resuming, and an interrupted run ends bit for bit like an uninterrupted one (CPU, same number of threads).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from stampbench.benchmark.errors import UserError


class Journal:
    """Names and results of finished calls, and how many of them are replayed."""

    def __init__(self, path: Path, entries: list[tuple[str, Any]] | None = None) -> None:
        """`path` is the resume state's file, for messages."""
        self._path = path
        self.entries: list[tuple[str, Any]] = entries or []
        self._replayed = 0

    @property
    def replaying(self) -> bool:
        """Whether the next call was finished by an earlier process."""
        return self._replayed < len(self.entries)

    def replay(self, call: str) -> Any:
        """Return the recorded result of the next call.

        Raises:
            UserError: when the strategy makes another call than the recorded one.
        """
        recorded, result = self.entries[self._replayed]
        if recorded != call:
            folder = self._path.parent
            raise UserError(f"{self._path}: saved by another version of the strategy; delete {folder} to start over")
        self._replayed += 1
        return result

    def append(self, call: str, result: Any) -> None:
        """Record a finished call."""
        self.entries.append((call, result))
        self._replayed += 1
