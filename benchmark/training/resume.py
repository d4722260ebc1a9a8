"""The state of an unfinished run on disk, so that it can go on where it was."""

from __future__ import annotations

import hashlib
import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stampbench.benchmark.errors import UserError

_VERSION = 4


class ResumeFile:
    """A file, replaced as a whole, and the one before it: a SHA-256, a line's end, and what `torch.save` wrote.

    Args:
        guard: called before every write; raises where this process may no longer write.
    """

    def __init__(self, folder: Path, guard: Callable[[], None] = lambda: None) -> None:
        self.path, self._guard = folder / "state.pt", guard
        self._previous = folder / "previous.pt"

    def read(self, say: Callable[[str], None] = lambda line: None) -> dict[str, Any] | None:
        """The last state written, the one before where that is damaged (which `say` hears of), or None.

        Raises:
            UserError: both are damaged, or of another version.
        """
        problem = None
        for path in (self.path, self._previous):
            if not path.is_file():
                continue
            try:
                state = _load(path)
            except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
                problem = f"{path}: cannot be resumed from ({error})"
                continue
            if state.get("version") != _VERSION:
                raise UserError(f"{path}: written by another version; delete {path.parent} to start anew")
            if problem is not None:
                say(f"{problem}; going on from the state before")
            return state
        if problem is not None:
            raise UserError(f"{problem}; delete {self.path.parent} to start anew")
        return None

    def write(self, state: dict[str, Any]) -> None:
        self._guard()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        torch.save({"version": _VERSION, **state}, buffer)
        unfinished = self.path.with_suffix(".tmp")
        with unfinished.open("wb") as file:
            file.write(hashlib.sha256(buffer.getbuffer()).hexdigest().encode() + b"\n")
            file.write(buffer.getbuffer())
            file.flush()
            os.fsync(file.fileno())
        if self.path.is_file():
            self.path.replace(self._previous)
        unfinished.replace(self.path)


def _load(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        checksum, content = file.readline().strip().decode("ascii", "replace"), file.read()
    if hashlib.sha256(content).hexdigest() != checksum:
        raise ValueError("it is not what was written")
    state: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    return state


def detached(value: Any) -> Any:
    """A deep copy of nested dicts, lists and tensors, which further training does not change."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: detached(each) for key, each in value.items()}
    return [detached(each) for each in value] if isinstance(value, list) else value
