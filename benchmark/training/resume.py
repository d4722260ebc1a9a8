"""Resume state on disk: weights, optimiser and random states of an unfinished run."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stampbench.benchmark.errors import UserError
from stampbench.datasets.atomic_file import write_bytes

_VERSION = 6


class ResumeFile:
    """A state file that is replaced atomically, and the previous state: a SHA-256, a newline, PyTorch's format.

    Args:
        folder: folder of both files.
        guard: called before every write; it raises an error if this process may no longer write.
    """

    def __init__(self, folder: Path, guard: Callable[[], None] = lambda: None) -> None:
        self.path, self._guard = folder / "state.pt", guard
        self._previous = folder / "previous.pt"

    def read(self, say: Callable[[str], None] = lambda line: None) -> dict[str, Any] | None:
        """Return the last state, or the previous one if the last is damaged, or None if there is none.

        Args:
            say: called with a line when the last state is damaged.

        Raises:
            UserError: when both states are damaged, or a state is of another version.
        """
        problem = None
        for path in (self.path, self._previous):
            if not path.is_file():
                continue
            try:
                state = _load(path)
            except Exception as error:  # of PyTorch's reader, for whatever a file with a valid checksum holds
                problem = f"{path}: damaged resume state ({error})"
                continue
            if state.get("version") != _VERSION:
                raise UserError(f"{path}: saved by another version of stampbench; delete {path.parent} to start over")
            if problem is not None:
                say(f"{problem}; resuming from the previous state")
            return state
        if problem is not None:
            raise UserError(f"{problem}; delete {self.path.parent} to start over")
        return None

    def write(self, state: dict[str, Any]) -> None:
        """Replace the state; the replaced one becomes the previous state.

        Raises:
            RunLeasedError: when another process took the run over.
            OSError: when the file cannot be written.
        """
        self._guard()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        buffer = io.BytesIO()
        torch.save({"version": _VERSION, **state}, buffer)
        checksum = hashlib.sha256(buffer.getbuffer()).hexdigest().encode()
        write_bytes(self.path, [checksum, b"\n", buffer.getbuffer()], keep=self._previous)


def _load(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        checksum, content = file.readline().strip().decode("ascii", "replace"), file.read()
    if hashlib.sha256(content).hexdigest() != checksum:
        raise ValueError("checksum mismatch")
    state = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    if not isinstance(state, dict):
        raise ValueError(f"holds a {type(state).__name__}")
    return state


def detached(value: Any) -> Any:
    """Return a deep copy of nested dicts, lists and tensors, which further training does not change."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: detached(each) for key, each in value.items()}
    return [detached(each) for each in value] if isinstance(value, list) else value
