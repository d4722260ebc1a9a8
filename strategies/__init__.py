"""Training and pruning strategies: start architecture, schedule, filter selection and dropout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from stampbench.strategies.pruner import Pruner

__all__ = ["Pruner"]


def __getattr__(name: str) -> Any:
    """Import `Pruner` on first use: it imports torch, which listing names does not need."""
    if name == "Pruner":
        from stampbench.strategies.pruner import Pruner

        return Pruner
    raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
