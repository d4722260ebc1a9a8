"""Images of a fold: in memory or on disk, and on which device."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from stampbench.benchmark.config.dataset_request import DatasetRequest, find_definition
from stampbench.benchmark.execution.run import Run
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.training import fold_data as data_module
from stampbench.benchmark.training.fold_data import Images, StoredImages, load_fold
from stampbench.datasets.dataset import open_dataset
from stampbench.datasets.split import split

CPU = torch.device("cpu")


def test_images_on_disk_equal_those_in_memory(decathlon: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    dataset = open_dataset(DatasetRequest(name=str(decathlon()), spatial_dims=2).define())
    parts = split(dataset.definition, dataset.images, None, 0, 2)
    prepared = dataset.prepare([case.id for case in dataset.reader.cases])
    resident = load_fold(parts, prepared, dataset, CPU)
    monkeypatch.setattr(data_module, "_RESIDENT", 0)
    stored = load_fold(parts, prepared, dataset, CPU)
    assert isinstance(resident.training, Images)
    assert isinstance(stored.training, StoredImages)
    for in_memory, on_disk in ((resident.training, stored.training), (resident.validation, stored.validation)):
        assert in_memory.number == on_disk.number
        assert in_memory.shape == on_disk.shape == (32, 32)
        for a, b in zip(in_memory.batches(5), on_disk.batches(5), strict=True):
            assert all(torch.equal(x, y) for x, y in zip(a, b, strict=True))
        part = (slice(3, 9), slice(0, 4))
        assert all(torch.equal(x, y) for x, y in zip(in_memory.part(2, part), on_disk.part(2, part), strict=True))
        assert np.array_equal(in_memory.labels_of(1), on_disk.labels_of(1))


@pytest.mark.parametrize("augment", ["none", "monai"])
def test_run_with_images_on_disk_ends_with_the_same_weights(
    augment: str, make_run: Callable[..., Run], perform: Callable[..., Any], monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    run = make_run("stamp", protocol_settings=("max_epochs=3", f"augmentation={augment}"))
    weights = []
    for name, limit in (("memory", 2**30), ("disk", 0)):
        monkeypatch.setattr(data_module, "_RESIDENT", limit)
        perform(run, RunStore(tmp_path / name))
        (path,) = (tmp_path / name).rglob("weights.safetensors")
        weights.append(path.read_bytes())
    assert weights[0] == weights[1]


def test_flips_mirror_the_first_axis_of_volumes_and_the_second_of_pictures(decathlon: Callable[..., Path]) -> None:
    for dataset, mirror in (
        (open_dataset(DatasetRequest(name=str(decathlon()), spatial_dims=2).define()), 0),
        (open_dataset(find_definition("phantom2d:size=16,cases=14")), 1),
    ):
        parts = split(dataset.definition, dataset.images, None, 0, 2)
        data = load_fold(parts, dataset.prepare([case.id for case in dataset.reader.cases]), dataset, CPU)
        assert data.mirror == mirror


def test_data_fits_into_half_of_the_free_gpu_memory_or_one_gibibyte_of_main_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (1000, 2000))
    gpu = torch.device("cuda")
    assert data_module.fits(500, gpu)
    assert not data_module.fits(501, gpu)
    assert data_module.fits(2**30, torch.device("cpu"))
    assert not data_module.fits(2**30 + 1, torch.device("cpu"))
