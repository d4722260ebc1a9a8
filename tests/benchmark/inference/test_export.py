"""Networks that leave the package."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stampbench.benchmark.config.dataset_request import find_definition
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.inference import export as module
from stampbench.benchmark.inference.export import Format, export, onnx_session
from stampbench.benchmark.records.record_file import model_checksums
from stampbench.datasets.dataset import open_dataset
from stampbench.models.architecture import Filter, UNetArchitecture
from stampbench.models.network import Architecture, Network, build
from stampbench.models.pocketnet import PocketNetArchitecture
from stampbench.models.pruning import remove_filters
from stampbench.models.serialization import save_model
from stampbench.models.unet import UNet

pytest.importorskip("onnxscript")
onnxruntime = pytest.importorskip("onnxruntime")


def pruned(spatial_dims: int) -> Network:
    torch.manual_seed(0)
    model = build(UNetArchitecture.doubling(spatial_dims, 2, 3, f=2, depth=2), "fast")
    assert isinstance(model, UNet)
    remove_filters(model, [Filter("conv2", 0), Filter("conv5", 3)])
    return model.eval()


@pytest.mark.parametrize("form", ["onnx", "pt2"])
@pytest.mark.parametrize("spatial_dims", [2, 3])
def test_any_batch_and_size_give_the_originals_logits(spatial_dims: int, form: Format, tmp_path: Path) -> None:
    model, path = pruned(spatial_dims), tmp_path / "deep" / f"model.{form}"
    assert export(model, torch.randn(1, 2, *(8,) * spatial_dims), path, form) < 1e-5
    run = onnx_session(path) if form == "onnx" else module._loaded(path)
    for images, edge in ((1, 12), (5, 20)):
        pixels = torch.randn(images, 2, *(edge,) * (spatial_dims - 1), 16)
        np.testing.assert_allclose(run(pixels.numpy()), model(pixels).detach().numpy(), rtol=1e-3, atol=1e-4)
    assert sorted(each.name for each in path.parent.iterdir()) == [path.name]
    with pytest.raises(Exception, match=r".+"):
        run(np.zeros((1, 2, *(8,) * (spatial_dims - 1), 10), np.float32))


ARCHITECTURES: dict[str, Architecture] = {
    "resnet": PocketNetArchitecture(
        spatial_dims=3, in_channels=1, out_channels=2, f=2, depth=2, block="resnet", construction="lits2021"
    ),
    "densenet": PocketNetArchitecture(spatial_dims=3, in_channels=1, out_channels=2, f=2, depth=2, block="densenet"),
}


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_pocketnets_can_leave_too(name: str, tmp_path: Path) -> None:
    model = build(ARCHITECTURES[name]).eval()
    assert export(model, torch.randn(1, 1, 8, 8, 5), tmp_path / "model.onnx", "onnx") < 1e-5


def test_a_file_that_computes_something_else_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        module, "onnx_session", lambda path: lambda images: np.zeros((len(images), 3, 8, 8), np.float32)
    )
    with pytest.raises(UserError, match="not written: exported logits differ"):
        export(pruned(2), torch.randn(1, 2, 8, 8), tmp_path / "model.onnx", "onnx")
    assert list(tmp_path.iterdir()) == []


def test_output_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        export(pruned(2), torch.randn(1, 2, 8, 8), tmp_path / "file" / "model.onnx", "onnx")


def test_the_same_label_map_on_a_real_case(real_data: Path, tmp_path: Path) -> None:
    dataset = open_dataset(find_definition("hippocampus"), real_data)
    case = dataset.reader.cases[0].id
    images = torch.from_numpy(dataset.prepare([case])[case].images.copy())
    torch.manual_seed(0)
    model = build(UNetArchitecture.doubling(3, 1, 3), "fast").eval()
    with torch.no_grad():  # untrained, shifted until it finds every class somewhere
        model.head.bias -= model(images).movedim(1, -1).flatten(0, -2).median(0).values
    export(model, images, tmp_path / "model.onnx", "onnx")
    found = onnx_session(tmp_path / "model.onnx")(images.numpy()).argmax(1)
    expected = model(images).argmax(1).numpy()
    assert len(np.unique(expected)) > 1
    assert (found == expected).all()


def test_a_recorded_run_is_exported_by_its_id(stampbench: Callable[..., Any]) -> None:
    code, _, _ = stampbench(
        "run", "--strategy", "standard", "--dataset", "phantom2d:size=16,cases=14", "--folds", "0", "--protocol",
        "quick", "--set", "f=2", "--set", "depth=1", "--protocol-set", "max_epochs=1",
    )  # fmt: skip
    assert code == 0
    (record,) = Path("runs").rglob("run.json")
    run = record.parent.name
    code, out, _ = stampbench("export", run[:6], "--output", "model.onnx")
    assert code == 0
    assert "of size 2·n × 2·n in" in out
    assert Path("model.onnx").is_file()
    for damage, message in (
        (lambda weights: weights[:-50], "checksum mismatch"),
        (lambda weights: b"\x80\x04\x95" + weights[:100], "checksum mismatch"),
    ):
        weights = record.parent / "model" / "weights.safetensors"
        whole = weights.read_bytes()
        weights.write_bytes(damage(whole))
        code, _, err = stampbench("export", run, "--output", "other.onnx")
        weights.write_bytes(whole)
        assert (code, len(err.strip().splitlines())) == (2, 1)
        assert message in err
        assert not Path("other.onnx").exists()
    described = record.parent / "model" / "architecture.json"
    whole_text = described.read_text()
    other = build(UNetArchitecture.doubling(2, 1, 7, f=2, depth=1))
    for change, message in (
        (lambda: described.write_text(whole_text.replace('"depth": 1', '"depth": 2')), "upconvs"),
        (lambda: save_model(other, record.parent / "model"), "the network has 7 classes, the record 4"),
    ):
        change()
        content = json.loads(record.read_text())  # with the checksums of what is there, so that only the network tells
        content["files"] |= model_checksums(record.parent)
        record.write_text(json.dumps(content))
        code, _, err = stampbench("predict", run, "absent.png", "--output", "labels")
        assert (code, len(err.strip().splitlines())) == (2, 1)
        assert message in err
        described.write_text(whole_text)
