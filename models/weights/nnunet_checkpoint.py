"""Checkpoints of nnU-Net v2, converted to this package's `nnunet_reference` with equal logits.

nnU-Net's PlainConvUNet and MONAI's DynUNet are the same network under other names. Biases before InstanceNorm, which
have no effect, and the head of the second lowest level, which is trained with weight 0, have no counterpart. nnU-Net
sees volumes with the axes (z, y, x), possibly transposed; this package with the axes (x, y, z): the axes of kernels and
strides are exchanged accordingly.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from pydantic import ValidationError
from torch import Tensor

from stampbench.models.errors import ModelError
from stampbench.models.networks.nnunet import NNUNetReference
from stampbench.models.weights.weights_file import read_content

_MOST_PLANS = 2**24
_BLOCK = re.compile(r"(encoder|decoder)\.stages\.(\d+)\.(?:0\.)?convs\.([01])\.(conv|norm)\.(weight|bias)")
_UPSAMPLING = re.compile(r"decoder\.transpconvs\.(\d+)\.(weight|bias)")
_HEAD = re.compile(r"decoder\.seg_layers\.(\d+)\.(weight|bias)")


class Plan(NamedTuple):
    """What a configuration of nnU-Net's plans says of its network, with the axes in this package's order.

    Attributes:
        network: The network.
        axes: For each spatial axis here, the number of nnU-Net's axis.
    """

    network: NNUNetReference
    axes: tuple[int, ...]


def is_nnunet(content: Mapping[str, Any]) -> bool:
    """Return whether a checkpoint is one of nnU-Net v2."""
    return isinstance(content.get("network_weights"), Mapping) and isinstance(content.get("init_args"), Mapping)


def nnunet_plan(file: Path, spatial_dims: int, pictures: bool) -> Plan | None:
    """Return the plan of a checkpoint of nnU-Net; None: the file is another one.

    Raises:
        ModelError: when the file or its plans cannot be read, or the network is one that cannot be converted.
    """
    if file.suffix == ".safetensors" or not is_nnunet(content := read_content(file)):
        return None
    return _plan(content, file, spatial_dims, pictures)


def nnunet_state(content: Mapping[str, Any], file: Path, spatial_dims: int, pictures: bool) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint under the names and with the axes of `nnunet_reference`.

    Args:
        content: The checkpoint.
        file: Its file.
        spatial_dims: 2 or 3.
        pictures: Whether the images are 2D pictures, whose axes are not exchanged.

    Raises:
        ModelError: when the network is one that cannot be converted.
    """
    plan = _plan(content, file, spatial_dims, pictures)
    filters = plan.network.widths(spatial_dims)
    levels = len(filters)
    order = (0, 1, *(2 + axis for axis in plan.axes))
    state = {}
    for name, value in content["network_weights"].items():
        name = str(name).removeprefix("module.").removeprefix("_orig_mod.")
        if name.startswith("decoder.encoder.") or ".all_modules." in name:
            continue  # further names of the same tensors
        if not isinstance(value, Tensor):
            raise ModelError(f"weights {file}: entry '{name[:100]}' is of type {type(value).__name__}, not a tensor")
        renamed = _renamed(name, levels)
        if renamed is None:
            raise ModelError(f"weights {file}: tensor '{name[:100]}' is not one of nnU-Net's plain network")
        if renamed:
            state[renamed] = value.permute(order) if value.ndim == len(order) else value
    for level in range(levels - 1):  # configurations without biases
        bias = f"upsamples.{level}.transp_conv.conv.bias"
        state.setdefault(bias, torch.zeros(filters[levels - 2 - level]))
    return state


def _renamed(name: str, levels: int) -> str | None:
    """Return the name in `nnunet_reference`; empty: it has no such tensor; None: the name is not known."""
    if found := _BLOCK.fullmatch(name):
        part, stage, conv, kind, leaf = found[1], int(found[2]), int(found[3]) + 1, found[4], found[5]
        if kind == "conv" and leaf == "bias":
            return ""
        block = f"upsamples.{stage}.conv_block"
        if part == "encoder":
            inner = f"downsamples.{stage - 1}" if stage < levels - 1 else "bottleneck"
            block = "input_block" if stage == 0 else inner
        return f"{block}.conv{conv}.conv.{leaf}" if kind == "conv" else f"{block}.norm{conv}.{leaf}"
    if found := _UPSAMPLING.fullmatch(name):
        return f"upsamples.{found[1]}.transp_conv.conv.{found[2]}"
    if found := _HEAD.fullmatch(name):
        level = levels - 2 - int(found[1])
        if level == 0:
            return f"output_block.conv.conv.{found[2]}"
        return f"deep_supervision_heads.{level - 1}.conv.conv.{found[2]}" if level < levels - 2 else ""
    return None


def _plan(content: Mapping[str, Any], file: Path, spatial_dims: int, pictures: bool) -> Plan:
    arguments = content["init_args"]
    beside = file.parent.parent / "plans.json"
    plans = _read_plans(beside) if beside.is_file() else arguments.get("plans")
    name = arguments.get("configuration")
    try:
        if not isinstance(plans, Mapping) or not isinstance(name, str):
            raise ModelError("it names no plans and no configuration")
        configuration = _configuration(plans["configurations"], name)
        filters, strides, kernels = _levels(configuration)
        if len(strides[0]) != spatial_dims:
            raise ModelError(f"configuration '{name}' is {len(strides[0])}D, the images are {spatial_dims}D")
        axes = _axes(plans.get("transpose_forward", (0, 1, 2)), spatial_dims, pictures)
        values = {"filters": filters, "strides": _exchanged(strides, axes), "kernels": _exchanged(kernels, axes)}
        network = NNUNetReference.model_validate(values).planned((1,) * spatial_dims, (1.0,) * spatial_dims)
        return Plan(network, axes)
    except ModelError as error:
        raise ModelError(f"weights {file}: nnU-Net's network cannot be rebuilt: {error}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise ModelError(f"weights {file}: nnU-Net's plans are malformed ({where}: {first['msg']})") from error
    except KeyError as error:
        raise ModelError(f"weights {file}: nnU-Net's plans have no key {error}") from error
    except (TypeError, ValueError, IndexError, AttributeError) as error:
        raise ModelError(f"weights {file}: nnU-Net's plans are malformed ({' '.join(str(error).split())})") from error


def _exchanged(levels: Sequence[Sequence[int]], axes: Sequence[int]) -> list[list[int]]:
    return [[level[axis] for axis in axes] for level in levels]


def _read_plans(path: Path) -> Any:
    try:
        if path.stat().st_size > _MOST_PLANS:
            raise ModelError(f"{path}: more than {_MOST_PLANS:,} bytes")
        return json.loads(path.read_bytes())
    except (OSError, ValueError, RecursionError) as error:
        raise ModelError(f"{path}: cannot be read ({' '.join(str(error).split())[:200]})") from error


def _configuration(configurations: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return a configuration with what it inherits."""
    inherited: list[Mapping[str, Any]] = []
    wanted: str | None = name
    while wanted is not None:
        if len(inherited) > len(configurations):
            raise ModelError(f"configuration '{name}' inherits from itself")
        inherited.append(configurations[wanted])
        wanted = inherited[-1].get("inherits_from")
    return {key: value for each in reversed(inherited) for key, value in each.items()}


def _levels(configuration: Mapping[str, Any]) -> tuple[Sequence[int], Sequence[Any], Sequence[Any]]:
    """Return filters, strides and kernel sizes of each level of a plain network.

    Raises:
        ModelError: when the network is another one, or has other blocks.
    """
    if "architecture" in configuration:
        network = str(configuration["architecture"]["network_class_name"])
        arguments = configuration["architecture"]["arch_kwargs"]
        _check(network, arguments)
        return arguments["features_per_stage"], arguments["strides"], arguments["kernel_sizes"]
    # Plans of versions before 2.4.
    convs = {
        "n_conv_per_stage": configuration["n_conv_per_stage_encoder"],
        "n_conv_per_stage_decoder": configuration["n_conv_per_stage_decoder"],
    }
    _check(str(configuration.get("UNet_class_name", "PlainConvUNet")), convs)
    base, most = int(configuration["UNet_base_num_features"]), int(configuration["unet_max_num_features"])
    filters = [min(base * 2**level, most) for level in range(len(convs["n_conv_per_stage"]))]
    return filters, configuration["pool_op_kernel_sizes"], configuration["conv_kernel_sizes"]


def _check(network: str, arguments: Mapping[str, Any]) -> None:
    """Check that a network has the blocks of the plain network with its default settings."""
    if network.rpartition(".")[2] != "PlainConvUNet":
        raise ModelError(f"its class is {network.rpartition('.')[2]}; only PlainConvUNet is converted")
    for key in ("n_conv_per_stage", "n_conv_per_stage_decoder"):
        if any(number != 2 for number in _listed(arguments.get(key, 2))):
            raise ModelError(f"{key} is {arguments[key]}; only 2 convolutions per level are converted")
    norm, settings = str(arguments.get("norm_op", "InstanceNorm")), arguments.get("norm_op_kwargs") or {"affine": True}
    if "InstanceNorm" not in norm or not settings.get("affine") or settings.get("eps", 1e-5) != 1e-5:
        raise ModelError(f"norm_op is {norm} with {settings}; only InstanceNorm with affine and eps 1e-5 is converted")
    activation, slope = str(arguments.get("nonlin", "LeakyReLU")), (arguments.get("nonlin_kwargs") or {})
    if "LeakyReLU" not in activation or slope.get("negative_slope", 0.01) != 0.01:
        raise ModelError(f"nonlin is {activation} with {slope}; only LeakyReLU with slope 0.01 is converted")
    for key in ("dropout_op", "nonlin_first"):
        if arguments.get(key):
            raise ModelError(f"{key} is {arguments[key]}, which is not converted")


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [value]


def _axes(transposed: Sequence[int], spatial_dims: int, pictures: bool) -> tuple[int, ...]:
    """Return, for each spatial axis here, the number of nnU-Net's axis.

    nnU-Net's axis `k` of a volume is axis `transposed[k]` of (z, y, x); slices are cut along its axis 0.
    """
    if sorted(transposed) != [0, 1, 2]:
        raise ModelError(f"transpose_forward is {transposed}, not an order of three axes")
    if spatial_dims == 3:
        return tuple(list(transposed).index(2 - axis) for axis in range(3))
    if transposed[0] != 0:
        raise ModelError(f"transpose_forward is {list(transposed)}: its slices are not axial ones")
    here = (1, 2) if pictures else (2, 1)  # pictures are (y, x) here too; slices of volumes are (x, y)
    return tuple(list(transposed).index(axis) - 1 for axis in here)
