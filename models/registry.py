"""Registry of networks: the built-in ones, and plug-ins from packages and files."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from stampbench.models import plugin
from stampbench.models.errors import ModelError

GROUP = "stampbench.networks"
"""Entry point group of plug-in networks."""


class Entry(plugin.Entry):
    """A registered network."""

    kind = "network"
    base = "stampbench.models.network:Network"
    error = ModelError


_NETWORKS = "stampbench.models.networks"
_MONAI = f"{_NETWORKS}.monai"

NETWORKS: dict[str, Entry] = {
    "dynunet": Entry(f"{_MONAI}:DynUNet", {}, "MONAI's DynUNet, the plain network of nnU-Net (Isensee et al. 2021)"),
    "basic_unet": Entry(f"{_MONAI}:BasicUNet", {}, "MONAI's BasicUNet (Falk et al. 2019)"),
    "residual_unet": Entry(f"{_MONAI}:ResidualUNet", {}, "MONAI's UNet with residual units (Kerfoot et al. 2018)"),
    "attention_unet": Entry(f"{_MONAI}:AttentionUNet", {}, "MONAI's AttentionUnet (Oktay et al. 2018)"),
    "segresnet": Entry(f"{_MONAI}:SegResNet", {}, "MONAI's SegResNet (Myronenko 2018)"),
    "flexible_unet": Entry(f"{_MONAI}:FlexibleUNet", {}, "MONAI's FlexibleUNet with an EfficientNet encoder"),
    "nnunet_reference": Entry(
        "stampbench.models.networks.nnunet:NNUNetReference", {}, "DynUNet as nnU-Net plans it from size and spacing"
    ),
    "mednext_s": Entry(f"{_MONAI}:MedNeXt", {}, "MONAI's MedNeXt in its small form (Roy et al. 2023)"),
    "swift_unet": Entry("stampbench.models.networks.swift:SwiftUNet"),
    "half_unet": Entry(
        f"{_NETWORKS}.half_unet:HalfUNet", {}, "Half-UNet: constant width, Ghost modules, no decoder (Lu et al. 2022)"
    ),
    "simple_unet": Entry(
        f"{_NETWORKS}.simple_unet:SimpleUNet",
        {},
        "SimpleUNet: constant width, narrow skip connections (Yu et al. 2025, arXiv 2506.13415)",
    ),
    "tiny_unet": Entry(
        f"{_NETWORKS}.tiny_unet:TinyUNet",
        {},
        "TinyU-Net: cascaded depthwise convolutions (Chen et al. 2024, MICCAI)",
    ),
}
"""Networks by name, besides `unet`, which strategies build from their own hyperparameters; plug-ins add theirs."""

DEFAULT = "unet"
"""Name of the network that strategies build themselves, unless another one is chosen."""


def register(name: str, entry: Entry) -> None:
    """Register a plug-in network.

    Raises:
        ModelError: when another network has the name already; the message names the origins of both.
    """
    if name == DEFAULT:
        raise ModelError(f"network '{name}' of {entry.origin}: not registered, because stampbench uses the name")
    plugin.register(NETWORKS, name, entry)


def discover() -> Iterator[str]:
    """Register the networks of installed packages, which are imported on first use.

    Yields:
        One line for each plug-in that cannot be registered, with the reason.
    """
    yield from plugin.discover(NETWORKS, Entry, GROUP)


def register_module(module: ModuleType, code: str) -> list[str]:
    """Register every network that a plug-in file defines, under its class name in snake_case, and return the names.

    Raises:
        ModelError: when a network is not valid, or its name is taken.
    """
    return plugin.register_module(NETWORKS, Entry, module, code)


def register_target(target: str) -> None:
    """Register the network that a user names as `module:Name`, under that text.

    `Name` is a subclass of `Network`, or a class or function that returns a module when it is called with
    `spatial_dims`, `in_channels` and `out_channels`.

    Raises:
        ModelError: when it cannot be imported or is neither.
    """
    if target in NETWORKS:
        return
    try:
        found = plugin.imported(target)
    except plugin.FAILURES as error:
        raise ModelError(f"network '{target}': cannot be imported ({plugin.one_line(error)})") from error
    if not (isinstance(found, type) and issubclass(found, plugin.imported(Entry.base))):
        from stampbench.models.factory import factory_network

        found = factory_network(found, target)
    module = sys.modules[target.partition(":")[0]]
    source = Path(module.__file__).read_bytes() if module.__file__ else b""
    code = hashlib.sha256(source).hexdigest()[:8]
    loaded = Entry.checked(found, f"network '{target}'")
    NETWORKS[target] = Entry(target, origin=f"module {module.__name__}", code=code, loaded=loaded)
