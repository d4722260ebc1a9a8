"""Errors that a user can cause; each message is one line: the thing, the problem, the remedy."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """A request that cannot be fulfilled.

    Attributes:
        setting: name of the setting that a user can change to mend it, such as `data_root`; None: no single one.
    """

    def __init__(self, message: str, *, setting: str | None = None) -> None:
        super().__init__(message)
        self.setting = setting


class TrainingFailedError(RuntimeError):
    """Training diverged or ran out of memory, or the strategy raised an error."""


class RunLeasedError(UserError):
    """The run is leased by another process."""


def unknown(kind: str, name: str, known: Iterable[str], *, setting: str | None = None) -> UserError:
    """Return the error for a name that does not exist; it suggests the nearest existing one.

    Args:
        kind: what the name is of, such as `strategy`.
        name: the unknown name.
        known: all names that exist.
        setting: name of the setting that a user can change.
    """
    return UserError(f"unknown {kind} '{name}'; {hint(name, known)}", setting=setting)


def hint(name: str, known: Iterable[str]) -> str:
    """Return the end of the message for a name that does not exist: the nearest existing one, and all of them."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    nearest = f"did you mean '{close[0]}'? " if close else ""
    return f"{nearest}known: {', '.join(names) or 'none'}"
