"""nnU-Net v2's result folder and plain network, re-created from the names, shapes and types in its checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class _Block(nn.Module):
    """A convolution, InstanceNorm and leaky ReLU; like nnU-Net's, it has every part under two names."""

    def __init__(self, inputs: int, width: int, kernel: Sequence[int], stride: Sequence[int]) -> None:
        super().__init__()
        conv, norm = (nn.Conv2d, nn.InstanceNorm2d) if len(kernel) == 2 else (nn.Conv3d, nn.InstanceNorm3d)
        padding = [(each - 1) // 2 for each in kernel]
        self.conv = conv(inputs, width, list(kernel), list(stride), padding)  # type: ignore[arg-type]
        self.norm = norm(width, eps=1e-5, affine=True)
        self.nonlin = nn.LeakyReLU()
        self.all_modules = nn.Sequential(self.conv, self.norm, self.nonlin)

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.all_modules(x)
        return result


class _Blocks(nn.Module):
    def __init__(self, inputs: int, width: int, kernel: Sequence[int], stride: Sequence[int]) -> None:
        super().__init__()
        self.convs = nn.Sequential(
            _Block(inputs, width, kernel, stride), _Block(width, width, kernel, [1] * len(kernel))
        )

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.convs(x)
        return result


class _Encoder(nn.Module):
    def __init__(self, inputs: int, plan: dict[str, Any]) -> None:
        super().__init__()
        widths = plan["features_per_stage"]
        stages = zip([inputs, *widths], widths, plan["kernel_sizes"], plan["strides"], strict=False)
        self.stages = nn.Sequential(*(nn.Sequential(_Blocks(*each)) for each in stages))

    def forward(self, x: Tensor) -> list[Tensor]:
        skips = [x]
        for stage in self.stages:
            skips.append(stage(skips[-1]))
        return skips[1:]


class _Decoder(nn.Module):
    def __init__(self, encoder: _Encoder, classes: int, plan: dict[str, Any]) -> None:
        super().__init__()
        self.encoder = encoder
        widths, kernels, strides = plan["features_per_stage"], plan["kernel_sizes"], plan["strides"]
        transposed, one = (nn.ConvTranspose2d, nn.Conv2d) if len(strides[0]) == 2 else (nn.ConvTranspose3d, nn.Conv3d)
        levels = range(len(widths) - 2, -1, -1)
        self.stages = nn.ModuleList(
            _Blocks(2 * widths[i], widths[i], kernels[i], [1] * len(kernels[i])) for i in levels
        )
        self.transpconvs = nn.ModuleList(
            transposed(widths[i + 1], widths[i], strides[i + 1], strides[i + 1]) for i in levels
        )
        self.seg_layers = nn.ModuleList(one(widths[i], classes, 1) for i in levels)


class PlainConvUNet(nn.Module):
    """nnU-Net's plain network, written from the names and shapes in its checkpoints; returns all levels' logits."""

    def __init__(self, channels: int, classes: int, plan: dict[str, Any]) -> None:
        super().__init__()
        self.encoder = _Encoder(channels, plan)
        self.decoder = _Decoder(self.encoder, classes, plan)

    def forward(self, x: Tensor) -> list[Tensor]:
        *skips, x = self.encoder(x)
        logits = []
        for step, stage in enumerate(self.decoder.stages):
            upsampled = self.decoder.transpconvs[step](x)
            x = stage(torch.cat([upsampled, skips[-(step + 1)]], dim=1))
            logits.append(self.decoder.seg_layers[step](x))
        return logits[::-1]


def write_result(
    root: Path,
    strides: Sequence[Sequence[int]],
    kernels: Sequence[Sequence[int]],
    widths: Sequence[int] = (4, 8, 12, 16),
    channels: int = 1,
    classes: int = 3,
    transposed: Sequence[int] = (0, 1, 2),
    name: str = "nnUNetTrainer__nnUNetPlans__3d_fullres",
    change: Callable[[dict[str, Any]], None] = lambda plans: None,
) -> tuple[Path, PlainConvUNet]:
    """Write a result folder as nnU-Net v2 does, and return it and the network, which has random weights.

    Args:
        root: Folder to write below.
        strides: Strides of each level and axis.
        kernels: Kernel sizes of each level and axis.
        widths: Filters of each level.
        channels: Channels of the images.
        classes: Classes with the background.
        transposed: The plans' `transpose_forward`.
        name: Name of the folder, whose last part is the configuration.
        change: Changes the plans before they are written.
    """
    torch.manual_seed(0)
    levels = len(strides)
    kwargs = {
        "n_stages": levels, "features_per_stage": list(widths[:levels]), "conv_op": "torch.nn.modules.conv.Conv3d",
        "kernel_sizes": [list(each) for each in kernels], "strides": [list(each) for each in strides],
        "n_conv_per_stage": [2] * levels, "n_conv_per_stage_decoder": [2] * (levels - 1), "conv_bias": True,
        "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d", "norm_op_kwargs": {"eps": 1e-5, "affine": True},
        "dropout_op": None, "dropout_op_kwargs": None, "nonlin": "torch.nn.LeakyReLU",
        "nonlin_kwargs": {"inplace": True},
    }  # fmt: skip
    network = PlainConvUNet(channels, classes, kwargs)
    for parameter in network.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    configuration = name.rpartition("__")[2]
    architecture = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": kwargs, "_kw_requires_import": ["conv_op", "norm_op", "dropout_op", "nonlin"],
    }  # fmt: skip
    plans: dict[str, Any] = {
        "dataset_name": "Dataset777_Organ", "plans_name": "nnUNetPlans", "transpose_forward": list(transposed),
        "transpose_backward": list(np.argsort(transposed).tolist()),
        "configurations": {configuration: {"batch_size": 2, "architecture": architecture}},
    }  # fmt: skip
    change(plans)
    folder = root / "Dataset777_Organ" / name
    (folder / "fold_0").mkdir(parents=True)
    labels = {"background": 0} | {f"organ{value}": value for value in range(1, classes)}
    declared = {"channel_names": {str(each): "MRI" for each in range(channels)}, "labels": labels,
                "numTraining": 10, "file_ending": ".nii.gz"}  # fmt: skip
    (folder / "plans.json").write_text(json.dumps(plans))
    (folder / "dataset.json").write_text(json.dumps(declared))
    optimiser = torch.optim.SGD(network.parameters(), 0.01, momentum=0.99, nesterov=True)
    checkpoint = {
        "network_weights": network.state_dict(), "optimizer_state": optimiser.state_dict(),
        "grad_scaler_state": {"scale": 65536.0}, "trainer_name": "nnUNetTrainer", "current_epoch": 1000,
        "logging": {"train_losses": [np.float32(-0.5)], "dice_per_class_or_region": [[np.float64(0.9)]]},
        "_best_ema": np.float64(0.91), "inference_allowed_mirroring_axes": (0, 1, 2),
        "init_args": {"plans": plans, "configuration": configuration, "fold": 0, "dataset_json": declared,
                      "device": torch.device("cuda")},
    }  # fmt: skip
    torch.save(checkpoint, folder / "fold_0" / "checkpoint_final.pth")
    return folder, network
