"""What training and ranking see of the images: whole or in patches, resident or on disk, changed or not."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from stampbench.benchmark.config.dataset_request import DatasetRequest, find_definition
from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.execution.run import Run
from stampbench.benchmark.inference.sliding_window import sliding_window
from stampbench.benchmark.training import fold_data as data_module
from stampbench.benchmark.training.augmentation import augmentation
from stampbench.benchmark.training.fold_data import FoldData, Images, StoredImages, load_fold
from stampbench.benchmark.training.sampling import Sampler, example
from stampbench.benchmark.training.validation import validate
from stampbench.datasets.dataset import open_dataset
from stampbench.models.architecture import UNetArchitecture
from stampbench.models.network import build

CPU = torch.device("cpu")


def numbered(number: int, shape: tuple[int, ...], patch: tuple[int, ...] | None = None) -> FoldData:
    """Images whose every voxel is a number of its own, so that a patch says where it is from."""
    pixels = torch.arange(number * int(np.prod(shape)), dtype=torch.float64).view(number, 1, *shape)
    labels = torch.zeros(number, *shape, dtype=torch.uint8)
    labels[(slice(None), *(slice(edge // 2, edge // 2 + 2) for edge in shape))] = 1
    images = Images(pixels, labels, torch.arange(number))
    return FoldData(images, images, ("background", "one"), 1, patch or shape, patch)


@settings(max_examples=40, deadline=None)
@given(
    number=st.integers(1, 5),
    batch=st.integers(1, 4),
    edges=st.lists(st.tuples(st.integers(2, 9), st.integers(1, 9)), min_size=2, max_size=3),
)
def test_patches_are_places_of_their_images_and_tiles_cover_them(
    number: int, batch: int, edges: list[tuple[int, int]]
) -> None:
    shape, patch = tuple(edge for edge, _ in edges), tuple(min(edge, part) for edge, part in edges)
    data = numbered(number, shape, patch)
    sampler = Sampler(data, batch)
    tiles = [(x, y) for pixels, labels in sampler.in_order() for x, y in zip(pixels, labels, strict=True)]
    per_image = int(np.prod([-(-edge // part) for edge, part in zip(shape, patch, strict=True)]))
    assert len(tiles) == number * per_image
    assert torch.cat([x.flatten() for x, _ in tiles]).unique().numel() == data.training.pixels.numel()
    shuffled = list(sampler.shuffled(torch.Generator().manual_seed(0)))
    assert sum(len(pixels) for pixels, _ in shuffled) == number * per_image
    assert {len(pixels) for pixels, _ in shuffled[:-1]} <= {batch}
    flat = data.training.labels.flatten()
    images = []
    for pixels, labels in shuffled:
        assert pixels.shape[2:] == labels.shape[1:] == patch
        assert torch.equal(flat[pixels[:, 0].flatten().long()], labels.flatten())
        images += (pixels[:, 0].flatten(1)[:, 0] // int(np.prod(shape))).tolist()
    assert sorted(images) == [each for each in range(number) for _ in range(per_image)]


def test_half_of_the_patches_lie_around_foreground() -> None:
    """The foreground is a thousandth of the image; of patches anywhere one in 64 would hold some of it."""
    data = numbered(1, (32, 32, 32), (4, 4, 4))
    hits = [bool(label.any()) for _, labels in Sampler(data, 8).shuffled(torch.Generator().manual_seed(1))
            for label in labels]  # fmt: skip
    # 512 draws of 1/2 and a little: five standard errors are .11.
    assert np.mean(hits) == pytest.approx(0.51, abs=0.11)


def test_a_patch_around_a_voxel_has_it_in_its_middle() -> None:
    data = numbered(1, (33, 33), (5, 5))
    data.training.labels.zero_()
    data.training.labels[0, 16, 20] = 1
    where = [label.nonzero().tolist() for _, labels in Sampler(data, 8).shuffled(torch.Generator().manual_seed(0))
             for label in labels if label.any()]  # fmt: skip
    assert where.count([[2, 2]]) > 0.7 * len(where) > 10


def test_validation_sees_windows_of_the_patch() -> None:
    data, shapes = numbered(2, (8, 8), (4, 4)), list[tuple[int, ...]]()

    class Watching(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            shapes.append(tuple(images.shape[2:]))
            return torch.cat([images, -images], dim=1)

    images = data.validation._replace(pixels=data.validation.pixels.float())
    validate(Watching(), images, 2, lambda logits, labels: logits.mean(), 2, patch_size=data.patch)
    assert set(shapes) == {(4, 4)}
    shapes.clear()
    validate(Watching(), images, 2, lambda logits, labels: logits.mean(), 2)
    assert shapes == [(8, 8)]


def test_an_image_without_foreground_is_sampled_too() -> None:
    data = numbered(1, (8, 8), (4, 4))
    data.training.labels.zero_()
    assert sum(len(pixels) for pixels, _ in Sampler(data, 2).shuffled(torch.Generator())) == 4


def test_whole_images_come_in_the_order_of_the_generator() -> None:
    data = numbered(5, (4, 4))
    order = torch.randperm(5, generator=torch.Generator().manual_seed(3))
    pixels = torch.cat([x for x, _ in Sampler(data, 2).shuffled(torch.Generator().manual_seed(3))])
    assert torch.equal(pixels, data.training.pixels[order])
    # Nothing else is drawn, so plain training has the random numbers that it had without patches in the world.
    generator = torch.Generator().manual_seed(3)
    list(Sampler(data, 2).shuffled(generator))
    torch.randperm(5, generator=(other := torch.Generator().manual_seed(3)))
    assert torch.equal(generator.get_state(), other.get_state())


def test_an_epoch_of_patches_is_the_same_from_the_same_state() -> None:
    data = numbered(2, (8, 8, 8), (4, 4, 4))
    epochs = [list(Sampler(data, 4).shuffled(torch.Generator().manual_seed(seed))) for seed in (5, 5, 6)]
    for (a, _), (b, _) in zip(epochs[0], epochs[1], strict=True):
        assert torch.equal(a, b)
    assert not all(torch.equal(a, c) for (a, _), (c, _) in zip(epochs[0], epochs[2], strict=True))


def test_the_example_is_the_middle_of_a_validation_image() -> None:
    data = numbered(2, (8, 6), (4, 2))
    assert torch.equal(example(data), data.validation.pixels[:1, :, 2:6, 2:4])


def test_windows_of_the_whole_image_are_the_network_itself() -> None:
    model = build(UNetArchitecture.doubling(3, 1, 2, f=2, depth=1)).eval()
    images = torch.randn(1, 1, 16, 16, 16)
    with torch.inference_mode():
        whole = model(images)
        torch.testing.assert_close(sliding_window(model, (16, 16, 16))(images), whole)
        parts = sliding_window(model, (8, 8, 8))(images)
    assert sliding_window(model, None) is model
    # Inside a window the network sees what it sees of the whole; at its border it sees zeros instead.
    assert (parts - whole).abs().median() < 0.05 * whole.std()


def test_stored_images_are_the_resident_ones(decathlon: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset(DatasetRequest(name=str(decathlon()), spatial_dims=2).define())
    from stampbench.datasets.split import split

    parts = split(dataset.definition, dataset.images, None, 0, 2)
    prepared = dataset.prepare([case.id for case in dataset.reader.cases])
    resident = load_fold(parts, prepared, dataset, CPU)
    monkeypatch.setattr(data_module, "_RESIDENT", 0)
    stored = load_fold(parts, prepared, dataset, CPU)
    assert isinstance(resident.training, Images)
    assert isinstance(stored.training, StoredImages)
    for one, other in ((resident.training, stored.training), (resident.validation, stored.validation)):
        assert one.number == other.number
        assert one.shape == other.shape == (32, 32)
        for a, b in zip(one.batches(5), other.batches(5), strict=True):
            assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
        part = (slice(3, 9), slice(0, 4))
        assert all(torch.equal(x, y) for x, y in zip(one.part(2, part), other.part(2, part), strict=True))
        assert np.array_equal(one.labels_of(1), other.labels_of(1))


@pytest.mark.parametrize("augment", ["none", "monai"])
def test_a_run_from_disk_ends_like_one_from_memory(
    augment: str, make_run: Callable[..., Run], perform: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    from stampbench.benchmark.records.run_store import RunStore

    run = make_run("stamp", protocol_settings=("max_epochs=3", f"augmentation={augment}"))
    weights = []
    for name, limit in (("memory", 2**30), ("disk", 0)):
        monkeypatch.setattr(data_module, "_RESIDENT", limit)
        perform(run, RunStore(tmp_path / name))
        (path,) = (tmp_path / name).rglob("weights.safetensors")
        weights.append(path.read_bytes())
    assert weights[0] == weights[1]


# Augmentation


def pair(shape: tuple[int, ...], seed: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    labels = torch.zeros(6, *shape, dtype=torch.uint8)
    labels[:, 3:9, 2:7] = 1
    labels[:, 10:13, 8:14] = 2
    noise = torch.randn(6, 2, *shape, generator=torch.Generator().manual_seed(seed))
    return labels[:, None].float() * 4 + 0.1 * noise, labels


def test_no_augmentation_is_none() -> None:
    assert augmentation("none", 2, 0) is None


@pytest.mark.parametrize(("shape", "mirror"), [((16, 16), 1), ((16, 16), 0), ((16, 16, 4), 0)])
def test_flips_mirror_image_and_label_left_to_right(shape: tuple[int, ...], mirror: int) -> None:
    augment = augmentation("flip", len(shape), mirror)
    assert augment is not None
    pixels, labels = pair(shape)
    flipped = 0
    for seed in range(4):
        for x, y, before, label in zip(*augment((pixels, labels), seed), pixels, labels, strict=True):
            mirrored = torch.equal(x, before.flip(mirror + 1))
            assert mirrored or torch.equal(x, before)
            assert torch.equal(y, label.flip(mirror) if mirrored else label)
            flipped += mirrored
    assert 4 <= flipped <= 20  # of 24


@pytest.mark.parametrize("shape", [(16, 16), (16, 16, 16)])
def test_monais_set_keeps_images_and_labels_together(shape: tuple[int, ...]) -> None:
    augment = augmentation("monai", len(shape), 0)
    assert augment is not None
    pixels, labels = pair(shape)
    before = pixels.clone()
    x, y = augment((pixels, labels), 7)
    assert torch.equal(pixels, before)
    assert (x.shape, y.shape, y.dtype) == (pixels.shape, labels.shape, torch.uint8)
    assert type(x) is torch.Tensor
    assert set(y.unique().tolist()) <= {0, 1, 2}
    assert not torch.equal(y, labels)
    for image, label in zip(x, y, strict=True):  # bright is where the label is
        assert float(torch.corrcoef(torch.stack([image[0].flatten(), label.flatten().float()]))[0, 1]) > 0.85
    again, other = augment((pixels, labels), 7), augment((pixels, labels), 8)
    assert torch.equal(x, again[0])
    assert not torch.equal(x, other[0])


def test_augmentation_is_part_of_the_protocol(stampbench: Callable[..., tuple[int, str, str]], tmp_path: Path) -> None:
    for name in ("none", "flip"):
        assert stampbench(
            "run", "--strategy", "standard", "--dataset", "phantom2d:size=16,cases=14", "--folds", "0", "--protocol",
            "quick", "--set", "f=2", "--set", "depth=1", "--protocol-set", "max_epochs=2", "--protocol-set",
            f"augmentation={name}",
        )[0] == 0  # fmt: skip
    labels = {json.loads(path.read_text())["protocol_label"] for path in tmp_path.rglob("run.json")}
    assert labels == {"quick (max_epochs=2)", "quick (augmentation=flip, max_epochs=2)"}
    losses = {pd.read_csv(path)["training_loss"].iloc[-1] for path in tmp_path.rglob("trajectory.csv")}
    assert len(losses) == 2


def test_left_to_right_is_the_first_axis_of_volumes_and_the_second_of_pictures(
    decathlon: Callable[..., Path], tmp_path: Path
) -> None:
    from stampbench.datasets.split import split

    for dataset, mirror in (
        (open_dataset(DatasetRequest(name=str(decathlon()), spatial_dims=2).define()), 0),
        (open_dataset(find_definition("phantom2d:size=16,cases=14")), 1),
    ):
        parts = split(dataset.definition, dataset.images, None, 0, 2)
        data = load_fold(parts, dataset.prepare([case.id for case in dataset.reader.cases]), dataset, CPU)
        assert data.mirror == mirror


def test_windows_overlap_by_a_quarter() -> None:
    starts = []

    class Where(torch.nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            starts.extend(images[:, 0, 0, 0].int().tolist())
            return images

    sliding_window(Where(), (16, 16))(torch.arange(40.0)[None, None, :, None].expand(1, 1, 40, 16))
    assert starts == [0, 12, 24]


@pytest.mark.parametrize("strategy", ["stamp_plus"])
def test_interrupted_on_changed_patches_it_ends_the_same(
    strategy: str, make_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stampbench.benchmark.environment.progress import Progress
    from stampbench.benchmark.execution.run import prepare_cases
    from stampbench.benchmark.training.resume import ResumeFile
    from stampbench.strategies.testing import CountingTrainer

    run = make_run(strategy, protocol_settings=("max_epochs=4", "augmentation=monai"))
    progress = Progress("test", 1, quiet=True)
    data = load_fold(run.split, prepare_cases([run], progress), run.dataset, CPU)._replace(size=(8, 8), patch=(8, 8))
    ends = []
    for stop_after in (None, 2):
        resume = ResumeFile(tmp_path / str(stop_after))
        while True:
            trainer = CountingTrainer(run.spec, run.architecture, data, ComputeSettings(device="cpu"), progress, resume)
            trainer.calls_left = stop_after
            try:
                run.resolved.strategy.fit(trainer)
                break
            except KeyboardInterrupt:
                trainer.save()
        ends.append(trainer.model.state_dict())
    assert all(torch.equal(one, ends[1][name]) for name, one in ends[0].items())


# Patches in a run


def test_a_run_on_patches_records_them_and_scores_whole_images(
    decathlon: Callable[..., Path], stampbench: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    folder = decathlon(shape=(32, 34, 36), cases=8, channels=("T2",))
    words = (
        "run", "--strategy", "stamp", "--dataset", folder, "--folds", "0", "--protocol", "quick", "--protocol-set",
        "folds=2", "--protocol-set", "max_epochs=5", "--set", "f=2", "--set", "depth=1", "--patch-size", "16x16x8",
        "--set", "recovery_epochs=1",
    )  # fmt: skip
    code, out, err = stampbench(*words)
    assert code == 0, out + err
    (folder,) = (path.parent for path in (tmp_path / "runs").rglob("run.json"))
    record = json.loads((folder / "run.json").read_text())
    assert record["spec"]["dataset"]["patch"] == [16, 16, 8]
    assert record["spec"]["dataset"]["size"] == [32, 48, 48]
    cases = pd.read_csv(folder / "cases.csv")
    for row in cases.itertuples():
        label = np.asarray(nib.load(tmp_path / f"Task05_Prostate/labelsTr/{row.case}.nii.gz").dataobj)
        assert row.reference_voxels == (label == {"PZ": 1, "TZ": 2}[row[3]]).sum() > 1000
    assert "cached" in stampbench(*words)[1]
    code, out, _ = stampbench("predict", record["id"], tmp_path / "Task05_Prostate/imagesTr/case_00.nii.gz",
                              "--output", tmp_path / "maps")  # fmt: skip
    assert code == 0
    assert stampbench("latency", record["id"], "--seconds", "0.05", "--backend", "eager")[0] == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--patch-size", "16x16"), "patch size 16×16 does not fit 3D images"),
        (("--patch-size", "a"), "--patch-size 'a': not a size such as 64x64x64"),
        (("--patch-size", "15x16x16"), "needs sizes that are multiples of 2, but Task05_Prostate has 15"),
        (("--image-size", "0x4"), "--image-size '0x4': not a size"),
        (("--image-size", "32x32"), "size 32×32 does not fit 3D images"),
    ],
)
def test_sizes_that_do_not_fit_are_told(
    words: tuple[str, ...], said: str, decathlon: Callable[..., Path], stampbench: Callable[..., tuple[int, str, str]]
) -> None:
    code, _, err = stampbench("run", "--strategy", "standard", "--dataset", decathlon(), "--set", "depth=1", *words)
    assert code == 2
    assert said in err
    assert len(err.strip().splitlines()) == 1


def test_large_volumes_are_trained_in_patches_unless_told_otherwise(decathlon: Callable[..., Path]) -> None:
    from stampbench.datasets.definition import folder_definition

    definition = folder_definition(decathlon(shape=(20, 18, 3)))
    large = definition.model_copy(update={"size": (256, 256, 80)})
    assert open_dataset(definition).patch is None
    assert open_dataset(large).patch == (128, 128, 80)
    assert open_dataset(large.model_copy(update={"patch": None})).patch is None
    assert open_dataset(large.model_copy(update={"patch": (256, 256, 5)})).patch == (256, 256, 5)
    assert open_dataset(large.model_copy(update={"patch": (300, 256, 96)})).patch is None  # all of the image
    assert open_dataset(large.model_copy(update={"spatial_dims": 2, "size": (512, 512)})).patch is None
