"""Parameters that are replaced by smaller ones."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from torch import Tensor, nn


class Cut(NamedTuple):
    """The replacement of a parameter by a smaller one.

    Attributes:
        old: The parameter before the removal.
        new: The parameter after it.
        dim: The dimension along which entries were removed.
        kept: Indices of the kept entries along `dim`.
    """

    old: nn.Parameter
    new: nn.Parameter
    dim: int
    kept: Tensor


def carried(states: Mapping[Tensor, dict[str, Any]], cuts: Iterable[Cut]) -> dict[Tensor, dict[str, Any]]:
    """Return an optimiser's state by parameter, without the entries of removed filters."""
    left = dict(states)
    for each in cuts:
        if state := left.pop(each.old, None):
            left[each.new] = {
                name: value.index_select(each.dim, each.kept) if isinstance(value, Tensor) and value.ndim else value
                for name, value in state.items()
            }
    return left


def cut(module: nn.Module, name: str, dim: int, kept: Tensor) -> Cut:
    """Replace a parameter of a module by its kept entries along a dimension.

    Args:
        module: The module.
        name: Name of the parameter.
        dim: The dimension.
        kept: Indices of the kept entries.
    """
    old = getattr(module, name)
    new = nn.Parameter(old.detach().index_select(dim, kept), requires_grad=old.requires_grad)
    setattr(module, name, new)
    return Cut(old, new, dim, kept)
