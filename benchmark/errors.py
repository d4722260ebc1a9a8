"""Errors that a user can cause; each message is one line that names the thing, the value and what is allowed."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class UserError(ValueError):
    """Something asked for that cannot be done."""


class TrainingFailedError(RuntimeError):
    """A run that cannot go on: its loss is no longer a number, or memory ran out."""


class RunLeasedError(UserError):
    """A run that another process is at work on."""


def unknown(kind: str, name: str, known: Iterable[str]) -> UserError:
    """An error for a name that does not exist, with the nearest one that does."""
    names = list(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean '{close[0]}'? " if close else ""
    return UserError(f"unknown {kind} '{name}'; {hint}known: {', '.join(names) or 'none'}")
