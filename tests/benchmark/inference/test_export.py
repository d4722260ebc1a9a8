"""Networks exported to ONNX and to PyTorch's format."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from stampbench.benchmark.config.dataset_request import find_definition
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.inference import export as module
from stampbench.benchmark.inference.export import Format, export, onnx_session
from stampbench.datasets.dataset import open_dataset
from stampbench.models.architecture import Filter, UNetArchitecture
from stampbench.models.model import Architecture, Model, build
from stampbench.models.pocketnet import PocketNetArchitecture
from stampbench.models.pruning import remove_filters
from stampbench.models.unet import UNet

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")


def pruned_network(spatial_dims: int) -> Model:
    torch.manual_seed(0)
    model = build(UNetArchitecture.doubling(spatial_dims, 2, 3, f=2, depth=2), "fast")
    assert isinstance(model, UNet)
    remove_filters(model, [Filter("conv2", 0), Filter("conv5", 3)])
    return model.eval()


@pytest.mark.parametrize("form", ["onnx", "pt2"])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_exported_networks_take_any_batch_and_size(spatial_dims: int, form: Format, tmp_path: Path) -> None:
    model, path = pruned_network(spatial_dims), tmp_path / "deep" / f"model.{form}"
    assert export(model, torch.randn(1, 2, *(8,) * spatial_dims), path, form) < 1e-5
    run = onnx_session(path) if form == "onnx" else module._loaded(path)
    for images, edge in ((1, 12), (5, 20)):
        pixels = torch.randn(images, 2, *(edge,) * (spatial_dims - 1), 16)
        np.testing.assert_allclose(run(pixels.numpy()), model(pixels).detach().numpy(), rtol=1e-3, atol=1e-4)
    assert sorted(each.name for each in path.parent.iterdir()) == [path.name]
    if form == "onnx":
        assert b"unet.py" not in path.read_bytes()  # no paths of this machine
    with pytest.raises(Exception, match=r".+"):
        run(np.zeros((1, 2, *(8,) * (spatial_dims - 1), 10), np.float32))


ARCHITECTURES: dict[str, Architecture] = {
    "resnet": PocketNetArchitecture(
        spatial_dims=3, in_channels=1, out_channels=2, f=2, depth=2, block="resnet", construction="lits2021"
    ),
    "densenet": PocketNetArchitecture(spatial_dims=3, in_channels=1, out_channels=2, f=2, depth=2, block="densenet"),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_pocketnets_are_exported(name: str, tmp_path: Path) -> None:
    model = build(ARCHITECTURES[name]).eval()
    assert export(model, torch.randn(1, 1, 8, 8, 5), tmp_path / "model.onnx", "onnx") < 1e-5


def test_file_with_other_logits_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        module, "onnx_session", lambda path: lambda images: np.zeros((len(images), 3, 8, 8), np.float32)
    )
    with pytest.raises(UserError, match="not written: exported logits differ"):
        export(pruned_network(2), torch.randn(1, 2, 8, 8), tmp_path / "model.onnx", "onnx")
    assert list(tmp_path.iterdir()) == []


def test_output_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        export(pruned_network(2), torch.randn(1, 2, 8, 8), tmp_path / "file" / "model.onnx", "onnx")


def test_exported_network_gives_the_same_label_map_on_a_real_case(real_data: Path, tmp_path: Path) -> None:
    dataset = open_dataset(find_definition("hippocampus"), real_data)
    case = dataset.reader.cases[0].id
    images = torch.from_numpy(dataset.prepare([case])[case].images.copy())
    torch.manual_seed(0)
    model = build(UNetArchitecture.doubling(3, 1, 3), "fast").eval()
    with torch.no_grad():  # the untrained network is shifted so that it predicts every class somewhere
        model.head.bias -= model(images).movedim(1, -1).flatten(0, -2).median(0).values
    export(model, images, tmp_path / "model.onnx", "onnx")
    exported = onnx_session(tmp_path / "model.onnx")(images.numpy()).argmax(1)
    expected = model(images).argmax(1).numpy()
    assert len(np.unique(expected)) > 1
    assert (exported == expected).all()
