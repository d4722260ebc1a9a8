"""The state of an unfinished run on disk, so that it can go on where it was."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from stampbench.benchmark.errors import UserError

_VERSION = 3


class ResumeFile:
    """One file, replaced as a whole: it is always a complete state, never half of one."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "state.pt"

    def read(self) -> dict[str, Any] | None:
        """The last state written, or None.

        Raises:
            UserError: the file is damaged or of another version.
        """
        if not self.path.is_file():
            return None
        try:
            state: dict[str, Any] = torch.load(self.path, map_location="cpu", weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
            raise UserError(
                f"{self.path}: cannot be resumed from ({type(error).__name__}); delete it to start anew"
            ) from error
        if state.get("version") != _VERSION:
            raise UserError(f"{self.path}: written by another version; delete it to start anew")
        return state

    def write(self, state: dict[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_suffix(".tmp")
        torch.save({"version": _VERSION, **state}, unfinished)
        unfinished.replace(self.path)


def detached(value: Any) -> Any:
    """A deep copy of nested dicts, lists and tensors, which further training does not change."""
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: detached(each) for key, each in value.items()}
    return [detached(each) for each in value] if isinstance(value, list) else value
