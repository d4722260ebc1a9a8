"""Networks made from any class or function that returns a PyTorch module."""

from __future__ import annotations

import inspect
import types
from typing import Any

from torch import nn

from stampbench.models.errors import ModelError
from stampbench.models.network import Network

_GIVEN = ("spatial_dims", "in_channels", "out_channels")
_PLAIN = (bool, int, float, str)


def factory_network(factory: object, target: str) -> type[Network]:
    """Return a network class for a factory of modules.

    Args:
        factory: A class or function with arguments among `spatial_dims`, `in_channels` and `out_channels`. Its other
            arguments need defaults; those whose defaults are numbers, texts or booleans become hyperparameters.
        target: Its name as `module:Name`.

    Raises:
        ModelError: when it cannot be called, or needs other arguments.
    """
    if not callable(factory):
        raise ModelError(f"network '{target}': not a class or function that returns a module")
    parameters = inspect.signature(factory).parameters.values()
    named = [each for each in parameters if each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)]
    given = [each.name for each in named if each.name in _GIVEN]
    for each in named:
        if each.name not in _GIVEN and each.default is each.empty:
            raise ModelError(
                f"network '{target}': needs the argument '{each.name}'; arguments besides {', '.join(_GIVEN)} need "
                "defaults"
            )
    missing = [name for name in _GIVEN[1:] if name not in given]
    if missing:
        raise ModelError(f"network '{target}': has no argument '{missing[0]}'")
    fields: dict[str, Any] = {
        each.name: (type(each.default), each.default)
        for each in named
        if each.name not in _GIVEN and isinstance(each.default, _PLAIN)
    }

    def build(self: Network, spatial_dims: int, in_channels: int, out_channels: int) -> nn.Module:
        values = {"spatial_dims": spatial_dims, "in_channels": in_channels, "out_channels": out_channels}
        module = factory(**{name: values[name] for name in given}, **{name: getattr(self, name) for name in fields})
        if not isinstance(module, nn.Module):
            raise ModelError(f"network '{target}': returned {type(module).__name__}, not a PyTorch module")
        return module

    def body(namespace: dict[str, Any]) -> None:
        namespace |= {name: default for name, (_, default) in fields.items()}
        namespace["__annotations__"] = {name: kind for name, (kind, _) in fields.items()}
        namespace |= {"build": build, "__doc__": f"{target}.", "__module__": __name__}

    return types.new_class(target.partition(":")[2], (Network,), {"frozen": True}, body)
