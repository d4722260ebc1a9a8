"""Segmentation of image files: label maps have the shape, affine and orientation of the image."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, io_orientation, ornt_transform
from PIL import Image

from stampbench.benchmark.config.dataset_request import find_definition
from stampbench.benchmark.config.evaluation_settings import EvaluationSettings
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.inference.image_files import find_images, output_paths, segment_file
from stampbench.benchmark.inference.predictor import predict
from stampbench.benchmark.measure.masks import score_masks
from stampbench.datasets.dataset import open_dataset
from stampbench.datasets.errors import DatasetError
from stampbench.datasets.formats.image_io import read
from stampbench.datasets.preparation.preprocessing_config import PreprocessingConfig
from stampbench.models.architecture import UNetArchitecture
from stampbench.models.model import Model, build

CPU = torch.device("cpu")


def with_all_classes(model: Model, images: torch.Tensor) -> Model:
    """Shift an untrained network so that it predicts every class somewhere."""
    with torch.no_grad():
        logits = model(images).movedim(1, -1).flatten(0, -2)
        model.head.bias -= logits.median(0).values
    return model


def settings_of(size: tuple[int, ...]) -> dict[str, Any]:
    return {
        "preprocessing": PreprocessingConfig(spatial_dims=len(size), size=size),
        "settings": EvaluationSettings(image_size=size),
    }


def untrained_network(spatial_dims: int, channels: int = 1) -> Model:
    torch.manual_seed(1)
    model = build(UNetArchitecture.doubling(spatial_dims, channels, 3, f=2, depth=2), "fast").eval()
    return with_all_classes(model, torch.randn(1, channels, *(32,) * spatial_dims))


def write_scan(path: Path, shape: tuple[int, ...] = (33, 41, 19), axes: str = "RAS") -> nib.Nifti1Image:
    """Write a scan with a blob, stored in the given axis order and direction."""
    rng = np.random.default_rng(0)
    values = rng.normal(100, 5, shape).astype(np.float32)
    values[5:20, 10:30, 4:12] += 80
    affine = np.array([[0.7, 0.05, 0, -10], [-0.05, 0.9, 0, 20], [0, 0, 2.5, -5], [0, 0, 0, 1]], float)
    stored = ornt_transform(io_orientation(affine), axcodes2ornt(axes))
    reoriented = apply_orientation(values, stored)
    image = nib.Nifti1Image(reoriented, affine @ inv_ornt_aff(stored, shape))
    nib.save(image, path)
    return image


def read_in_ras(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the array of an image and its affine, oriented to RAS."""
    image = nib.as_closest_canonical(nib.load(path))
    return np.asarray(image.dataobj), image.affine


@pytest.mark.parametrize("spatial_dims", [2, 3])
@pytest.mark.parametrize("axes", ["LPS", "PIR", "SRA"])
def test_scans_in_any_orientation_get_the_same_labels_in_their_own_space(
    axes: str, spatial_dims: int, tmp_path: Path
) -> None:
    model, size = untrained_network(spatial_dims), (32, 32, 32)[:spatial_dims]
    maps = []
    for name in ("RAS", axes):
        write_scan(tmp_path / f"{name}.nii.gz", axes=name)
        image = nib.load(tmp_path / f"{name}.nii.gz")
        output = segment_file(
            model,
            tmp_path / f"{name}.nii.gz",
            tmp_path / "labels" / f"{name}.nii.gz",
            **settings_of(size),
            values=[0, 1, 2],
            device=CPU,
        )
        written = nib.load(output)
        assert written.shape == image.shape
        assert np.array_equal(written.affine, image.affine)
        assert written.get_data_dtype() == np.uint8
        maps.append(read_in_ras(output))
    (labels, affine), (reoriented_labels, reoriented_affine) = maps
    np.testing.assert_allclose(affine, reoriented_affine, atol=1e-5)
    assert len(np.unique(labels)) > 1
    assert (labels == reoriented_labels).mean() > 0.999  # logits may be equal on the border of two classes


def test_trained_network_segments_a_flipped_scan_equally_well(
    decathlon: Callable[..., Path], stampbench: Callable[..., Any]
) -> None:
    """The reference is flipped in the same way; shape, affine and Dice of the prediction must fit it."""
    folder = decathlon(shape=(16, 15, 7), channels=("T2",), cases=12, affine=np.diag([0.6, 0.7, 2.5, 1.0]))
    assert stampbench(
        "run", "--strategy", "standard", "--dataset", folder, "--folds", "0", "--protocol", "quick", "--set", "f=4",
        "--set", "depth=2", "--protocol-set", "folds=2", "--protocol-set", "max_epochs=80",
        "--protocol-set", "patience=80", "--protocol-set", "batch_size=2",
    )[0] == 0  # fmt: skip
    (record,) = Path("runs").rglob("run.json")
    image, label = (nib.load(folder / part / "case_03.nii.gz") for part in ("imagesTr", "labelsTr"))
    transform = ornt_transform(axcodes2ornt("RAS"), axcodes2ornt("PIL"))
    flipped, reference = (nib.as_closest_canonical(each).as_reoriented(transform) for each in (image, label))
    nib.save(flipped, "flipped.nii.gz")
    nib.save(image, "plain.nii.gz")
    code, _, _ = stampbench("predict", record.parent.name, "flipped.nii.gz", "plain.nii.gz", "--output", "labels")
    assert code == 0
    written = nib.load("labels/flipped.nii.gz")
    assert written.shape == flipped.shape != image.shape
    np.testing.assert_allclose(written.affine, flipped.affine, atol=1e-5)
    scores = {
        name: score_masks(np.asarray(nib.load(f"labels/{name}.nii.gz").dataobj) == 1, truth == 1, (1, 1, 1)).dice
        for name, truth in (("flipped", np.asarray(reference.dataobj)), ("plain", np.asarray(label.dataobj)))
    }
    assert scores["plain"] > 0.8
    assert scores["flipped"] == pytest.approx(scores["plain"], abs=0.01)


def test_label_map_of_a_file_equals_the_evaluated_prediction(decathlon: Callable[..., Path], tmp_path: Path) -> None:
    folder = decathlon(shape=(20, 18, 7), channels=("T2",), cases=6)
    dataset = open_dataset(find_definition(str(folder)))
    case = dataset.reader.cases[0]
    model = untrained_network(3)
    expected = predict(model, dataset.prepare([case.id])[case.id], CPU, EvaluationSettings())
    output = segment_file(
        model, case.images[0], tmp_path / "out.nii.gz", **settings_of(dataset.size), values=[0, 5, 9], device=CPU
    )
    found, _ = read_in_ras(output)
    assert set(np.unique(found)) <= {0, 5, 9}
    assert np.array_equal(np.asarray([0, 5, 9])[expected], found)


def test_picture_is_segmented_as_a_picture_of_label_values(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (37, 50), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "cells.png")
    output = segment_file(
        untrained_network(2),
        tmp_path / "cells.png",
        tmp_path / "out" / "cells.png",
        **settings_of((64, 64)),
        values=[0, 100, 1000],
        device=CPU,
    )
    labels = np.asarray(Image.open(output))
    assert labels.shape == pixels.shape
    assert set(np.unique(labels)) <= {0, 100, 1000}


def test_channels_are_read_from_one_file_or_from_nnunet_files(tmp_path: Path) -> None:
    parts = []
    for number in range(2):
        image = write_scan(tmp_path / f"case_{number:04d}.nii.gz", shape=(16, 16, 8 + 0 * number))
        parts.append(np.asarray(image.dataobj) + number)
    nib.save(nib.Nifti1Image(np.stack(parts, -1), image.affine), tmp_path / "both.nii.gz")
    nib.save(nib.Nifti1Image(parts[1], image.affine), tmp_path / "case_0001.nii.gz")
    model, common = untrained_network(3, channels=2), {**settings_of((16, 16, 8)), "values": [0, 1, 2], "device": CPU}
    from_one_file = segment_file(model, tmp_path / "both.nii.gz", tmp_path / "out" / "both.nii.gz", **common)  # type: ignore[arg-type]
    (output,) = output_paths([tmp_path / "case_0000.nii.gz"], tmp_path / "out", force=False)
    assert output.name == "case.nii.gz"
    from_two_files = segment_file(model, tmp_path / "case_0000.nii.gz", output, **common)  # type: ignore[arg-type]
    assert np.array_equal(read_in_ras(from_one_file)[0], read_in_ras(from_two_files)[0])
    nib.save(nib.Nifti1Image(parts[1], np.diag([2.0, 2, 2, 1])), tmp_path / "case_0001.nii.gz")
    with pytest.raises(DatasetError, match="differs from that of its image"):
        segment_file(model, tmp_path / "case_0000.nii.gz", output, **common)  # type: ignore[arg-type]


def test_unusable_images_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    model, out = untrained_network(3), tmp_path / "out"
    common: dict[str, Any] = {**settings_of((16, 16, 16)), "values": [0, 1, 2], "device": CPU}
    different = np.arange(8 * 8 * 8 * 3, dtype=np.float32).reshape(8, 8, 8, 3)  # equal channels would count as one
    nib.save(nib.Nifti1Image(different, np.eye(4)), tmp_path / "four.nii.gz")
    with pytest.raises(UserError, match=r"four.nii.gz: the image has 3 channels; this model takes 1"):
        segment_file(model, tmp_path / "four.nii.gz", out / "map.nii.gz", **common)
    Image.fromarray(np.zeros((8, 8), np.uint8)).save(tmp_path / "flat.png")
    with pytest.raises(UserError, match=r"flat.png: the image is 2D"):
        segment_file(model, tmp_path / "flat.png", out / "map.png", **common)
    write_scan(tmp_path / "good.nii.gz")
    (tmp_path / "cut.nii.gz").write_bytes((tmp_path / "good.nii.gz").read_bytes()[:500])
    with pytest.raises(DatasetError, match=r"cut.nii.gz: cannot be read"):
        segment_file(model, tmp_path / "cut.nii.gz", out / "map.nii.gz", **common)
    with pytest.raises(DatasetError, match="no such file"):
        segment_file(model, tmp_path / "absent.nii.gz", out / "map.nii.gz", **common)
    assert not out.exists()
    with pytest.raises(UserError, match="is the image itself"):
        output_paths([tmp_path / "good.nii.gz"], tmp_path, force=True)
    with pytest.raises(UserError, match="and of another image"):
        output_paths([tmp_path / "good.nii.gz", tmp_path / "deep" / "good.nii.gz"], out, force=True)
    with pytest.raises(UserError, match=r"good\.nii\.gz exists"):
        output_paths([out / "good.nii.gz"], tmp_path, force=False)
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        segment_file(model, tmp_path / "good.nii.gz", tmp_path / "file" / "map.nii.gz", **common)


def test_scan_larger_than_the_training_images_is_segmented_in_sliding_windows(tmp_path: Path) -> None:
    """Overlapping windows are blended, so that far from borders the label map equals that of one large window."""
    write_scan(tmp_path / "large.nii.gz", shape=(64, 48, 40))
    common: dict[str, Any] = {"values": [0, 1, 2], "device": CPU}
    model = untrained_network(3)
    in_one_window = segment_file(
        model, tmp_path / "large.nii.gz", tmp_path / "one_window.nii.gz", **settings_of((64, 48, 40)), **common
    )
    in_windows = segment_file(
        model, tmp_path / "large.nii.gz", tmp_path / "windows.nii.gz", **settings_of((32, 32, 32)), **common
    )
    assert (read_in_ras(in_one_window)[0] == read_in_ras(in_windows)[0]).mean() > 0.9


def test_images_of_a_folder_are_its_files_or_the_first_of_each_set_of_channels(tmp_path: Path) -> None:
    for name in ("b_0000.png", "b_0001.png", "c_0001.png", ".d.png", "notes.txt"):
        (tmp_path / name).touch()
    assert [path.name for path in find_images([tmp_path], 2)] == ["b_0000.png", "c_0001.png"]
    assert [path.name for path in find_images([tmp_path], 1)] == ["b_0000.png", "b_0001.png", "c_0001.png"]
    assert find_images([tmp_path / "x.png"], 1) == [tmp_path / "x.png"]


@pytest.mark.parametrize("ending", ["mha", "mhd", "npy"])
def test_label_maps_have_the_format_and_geometry_of_their_images(tmp_path: Path, ending: str) -> None:
    itk = pytest.importorskip("SimpleITK")
    image = itk.GetImageFromArray(np.random.default_rng(0).normal(size=(32, 33, 20)).astype(np.float32))
    image.SetSpacing((0.5, 0.5, 2.0))
    path = tmp_path / f"a_0000.{ending}"
    if ending == "npy":
        np.save(path, itk.GetArrayFromImage(image).transpose(2, 1, 0))
    else:
        itk.WriteImage(image, str(path))
    (output,) = output_paths([path], tmp_path / "labels", force=False)
    assert output.name == ("a.npy" if ending == "npy" else "a.mha")
    segment_file(
        untrained_network(3), path, output, **settings_of((32, 32, 32)), values=[0, 5, 7], device=CPU
    )  # fmt: skip
    written, original = read(output, label=True), read(path)
    assert written.pixels.shape == original.pixels.shape
    assert set(np.unique(written.pixels)) <= {0, 5, 7}
    np.testing.assert_allclose(written.affine, original.affine)
