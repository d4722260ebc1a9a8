"""Checkpoints of nnU-Net v2: the rebuilt network computes the same logits; other networks are refused."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from stampbench.models.errors import ModelError
from stampbench.models.tracing.traced_architecture import TracedArchitecture
from stampbench.models.weights.nnunet_checkpoint import nnunet_plan
from stampbench.models.weights.trained_weights import load_trained
from stampbench.models.weights.weights_file import find_weights

Write = Callable[..., tuple[Path, torch.nn.Module]]
ISOTROPIC = ([[1, 1], [2, 2], [2, 2]], [[3, 3]] * 3)
THICK = ([[1, 1, 1], [1, 2, 2], [2, 2, 2], [1, 2, 2]], [[1, 3, 3], [1, 3, 3], [3, 3, 3], [3, 3, 3]])


def architecture_of(file: Path, dims: int, pictures: bool = False) -> TracedArchitecture:
    """Return the architecture of a checkpoint for one channel and three classes."""
    plan = nnunet_plan(file, dims, pictures)
    assert plan is not None
    return TracedArchitecture.unpruned("nnunet_reference", plan.network, dims, 1, 3)


@pytest.mark.parametrize(
    ("levels", "size", "transposed", "pictures", "here"),
    [
        # The order of nnU-Net's axes along this package's axes; volumes are (z, y, x) there and (x, y, z) here.
        (ISOTROPIC, (16, 8), (0, 1, 2), True, (0, 1)),
        (([[1, 1], [2, 1], [2, 2]], [[3, 3], [3, 1], [3, 3]]), (16, 8), (0, 1, 2), False, (1, 0)),
        (([[1, 1], [2, 1], [2, 2]], [[3, 3], [3, 1], [3, 3]]), (16, 8), (0, 2, 1), False, (0, 1)),
        (THICK, (4, 16, 24), (0, 1, 2), False, (2, 1, 0)),
        (THICK, (4, 16, 24), (2, 0, 1), False, (0, 2, 1)),  # nnU-Net sees (x, z, y)
        (THICK, (4, 16, 24), (1, 0, 2), False, (2, 0, 1)),  # nnU-Net sees (y, z, x)
    ],
)
def test_logits_equal_those_of_nnunet(
    nnunet_result: Write, levels: Any, size: tuple[int, ...], transposed: tuple[int, ...], pictures: bool,
    here: tuple[int, ...],
) -> None:  # fmt: skip
    folder, network = nnunet_result(*levels, transposed=transposed)
    file = find_weights(folder)
    model = load_trained(file, architecture_of(file, len(size), pictures), pictures=pictures).double()
    image = torch.randn(2, 1, *size, generator=torch.manual_seed(1), dtype=torch.float64)
    order = (0, 1, *(2 + axis for axis in here))
    with torch.no_grad():
        expected = network.double()(image)
        trained = model.train()(image.permute(order))
        found = [model.eval()(image.permute(order)), *(trained if isinstance(trained, list) else [trained])]
    assert len(found) == len(expected)  # the lowest of nnU-Net's has no counterpart, the first is there twice
    for one, other in zip(found, [expected[0], *expected[:-1]], strict=True):
        torch.testing.assert_close(one, other.permute(order), rtol=0, atol=1e-12)


def test_names_and_shapes_are_those_of_the_original(nnunet_result: Write) -> None:
    """Compares the network of these tests with nnU-Net's own, where that package is installed."""
    unet = pytest.importorskip("dynamic_network_architectures.architectures.unet")
    strides, kernels = THICK
    own = nnunet_result(strides, kernels)[1].state_dict()
    original = unet.PlainConvUNet(
        1, 4, [4, 8, 12, 16], torch.nn.Conv3d, kernels, strides, 2, 3, 2, True, torch.nn.InstanceNorm3d,
        {"affine": True}, None, None, torch.nn.LeakyReLU, {},
    ).state_dict()  # fmt: skip
    assert {name: value.shape for name, value in own.items()} == {n: value.shape for n, value in original.items()}


def test_plans_of_older_versions_and_inherited_configurations_are_read(nnunet_result: Write) -> None:
    def older(plans: dict[str, Any]) -> None:
        (name, configuration), *_ = plans["configurations"].items()
        del configuration["architecture"]
        configuration |= {
            "UNet_class_name": "PlainConvUNet", "UNet_base_num_features": 4, "unet_max_num_features": 12,
            "n_conv_per_stage_encoder": [2] * 4, "n_conv_per_stage_decoder": [2] * 3,
            "pool_op_kernel_sizes": THICK[0], "conv_kernel_sizes": THICK[1],
        }  # fmt: skip
        plans["configurations"] = {"base": configuration, name: {"inherits_from": "base"}}

    folder, network = nnunet_result(*THICK, widths=(4, 8, 12, 12), change=older)
    file = find_weights(folder)
    model = load_trained(file, architecture_of(file, 3))
    image = torch.randn(1, 1, 4, 16, 16, generator=torch.manual_seed(1))
    with torch.no_grad():
        torch.testing.assert_close(model(image.permute(0, 1, 4, 3, 2)).permute(0, 1, 4, 3, 2), network(image)[0])
    assert nnunet_plan(file, 3, False).network.filters == (4, 8, 12, 12)  # type: ignore[union-attr]


def test_checkpoint_without_its_folder_has_the_plans_inside(nnunet_result: Write, tmp_path: Path) -> None:
    folder, _ = nnunet_result(*THICK)
    file = tmp_path / "only" / "this" / "model.pth"
    file.parent.mkdir(parents=True)
    find_weights(folder).rename(file)
    assert nnunet_plan(file, 3, False).network.strides[1] == (2, 2, 1)  # type: ignore[union-attr]


def test_numbers_that_numpy_1_wrote_are_read(nnunet_result: Write) -> None:
    folder, _ = nnunet_result(*THICK)
    file = find_weights(folder)
    with zipfile.ZipFile(file) as archive:
        parts = {each: archive.read(each) for each in archive.namelist()}
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, content.replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))
    assert b"numpy.core.multiarray" in file.read_bytes()
    assert load_trained(file, architecture_of(file, 3))


def test_configuration_without_biases_is_converted(nnunet_result: Write) -> None:
    folder, network = nnunet_result(*THICK)
    file = find_weights(folder)
    checkpoint = torch.load(file, weights_only=False)
    for name in [name for name in checkpoint["network_weights"] if "transpconvs" in name and name.endswith("bias")]:
        network.get_parameter(name).data.zero_()
        del checkpoint["network_weights"][name]
    torch.save(checkpoint, file)
    image = torch.randn(1, 1, 4, 16, 16, generator=torch.manual_seed(1))
    with torch.no_grad():
        found = load_trained(file, architecture_of(file, 3))(image.permute(0, 1, 4, 3, 2))
        torch.testing.assert_close(found.permute(0, 1, 4, 3, 2), network(image)[0])


def changed(key: str, value: Any) -> Callable[[dict[str, Any]], None]:
    """Return a function that changes an argument of the network in plans."""

    def change(plans: dict[str, Any]) -> None:
        (configuration,) = plans["configurations"].values()
        configuration["architecture"]["arch_kwargs"][key] = value

    return change


def other_class(plans: dict[str, Any]) -> None:
    """Replace the network's class."""
    (configuration,) = plans["configurations"].values()
    configuration["architecture"]["network_class_name"] = "a.b.ResidualEncoderUNet"


def circular(plans: dict[str, Any]) -> None:
    """Let the configuration inherit from itself."""
    for name, configuration in plans["configurations"].items():
        configuration["inherits_from"] = name


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (other_class, "class is ResidualEncoderUNet; only PlainConvUNet is converted"),
        (changed("n_conv_per_stage", [2, 2, 3, 2]), "only 2 convolutions per level"),
        (changed("norm_op", "torch.nn.BatchNorm3d"), "only InstanceNorm"),
        (changed("norm_op_kwargs", {"eps": 1e-5, "affine": False}), "only InstanceNorm"),
        (changed("nonlin", "torch.nn.ReLU"), "only LeakyReLU"),
        (changed("dropout_op", "torch.nn.Dropout3d"), "dropout_op is torch.nn.Dropout3d, which is not converted"),
        (changed("strides", [[1, 1, 1]]), "1 levels"),
        (changed("strides", 7), "malformed"),
        (changed("strides", "many"), "is 1D, the images are 3D"),
        (changed("features_per_stage", [4, 8, 12, 10**9]), r"malformed \(filters.3: Input should be less than"),
        (changed("features_per_stage", [4, 8, 12]), "filters has 3 levels, strides has 4"),
        (lambda plans: plans.pop("configurations"), "no key 'configurations'"),
        (lambda plans: plans.update(transpose_forward=[0, 0, 1]), r"transpose_forward is \[0, 0, 1\]"),
        (circular, "inherits from itself"),
    ],
)
def test_networks_that_cannot_be_converted_are_refused(
    nnunet_result: Write, change: Callable[[dict[str, Any]], None], problem: str
) -> None:
    folder, _ = nnunet_result(*THICK, change=change)
    with pytest.raises(ModelError, match=rf"^weights .*checkpoint_final\.pth: nnU-Net's .*{problem}"):
        nnunet_plan(find_weights(folder), 3, False)


def test_other_dimensions_slices_and_folders_are_refused(nnunet_result: Write) -> None:
    folder, _ = nnunet_result(*ISOTROPIC, transposed=(2, 0, 1), name="nnUNetTrainer__nnUNetPlans__2d")
    file = find_weights(folder)
    with pytest.raises(ModelError, match="configuration '2d' is 2D, the images are 3D"):
        nnunet_plan(file, 3, False)
    with pytest.raises(ModelError, match="its slices are not axial ones"):
        nnunet_plan(file, 2, False)
    (folder / "plans.json").write_text("{")
    with pytest.raises(ModelError, match=r"plans\.json: cannot be read"):
        nnunet_plan(file, 2, False)
    (folder / "plans.json").write_text(json.dumps([1]))
    with pytest.raises(ModelError, match="it names no plans"):
        nnunet_plan(file, 2, False)
    (folder / "fold_1").mkdir()
    file.rename(folder / "fold_1" / file.name)
    assert find_weights(folder).parent.name == "fold_1"
    (folder / "fold_3").mkdir()
    (folder / "fold_3" / file.name).touch()
    with pytest.raises(ModelError, match=r"has several folds \(fold_1, fold_3\); name the folder of one of them"):
        find_weights(folder)
    assert find_weights(folder / "fold_3").parent.name == "fold_3"
