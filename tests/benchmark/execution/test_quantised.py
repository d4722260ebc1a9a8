"""Runs whose network is tested in int8 or bf16."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray

from stampbench.benchmark.environment import instructions
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.execution.run import Run, with_parents
from stampbench.benchmark.execution.timed_networks import find_networks
from stampbench.benchmark.inference import low_precision as module
from stampbench.benchmark.inference.openvino_session import openvino_session
from stampbench.benchmark.measure.case_score import CaseScore
from stampbench.benchmark.records.reinference import Reinference
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.submission import _wrong_parents
from stampbench.models.weights.serialization import load_model

DATASET = "phantom2d:size=16,cases=14"
Images = list[NDArray[np.float32]]


@pytest.fixture
def quantised_files(low_precision: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[tuple[Path, Images]]:
    """Copies of all files that are quantised, and the images on which their ranges were found."""
    found: list[tuple[Path, Images]] = []
    quantise = module.quantise

    def recorded(path: Path, images: Iterable[NDArray[np.float32]]) -> None:
        read = [np.array(each) for each in images]
        quantise(path, read)
        found.append((tmp_path / f"{len(found)}.onnx", [image for batch in read for image in batch]))
        shutil.copy(path, found[-1][0])

    monkeypatch.setattr(module, "quantise", recorded)
    return found


def dice_by_hand(labels: NDArray[Any], reference: NDArray[Any], classes: int) -> list[float]:
    found = []
    for value in range(1, classes):
        one, other = set(np.flatnonzero(labels == value)), set(np.flatnonzero(reference == value))
        found.append(2 * len(one & other) / (len(one) + len(other)) if one or other else 1.0)
    return found


def test_run_is_scored_with_the_quantised_network(
    quantised_files: list[tuple[Path, Images]],
    make_run: Callable[..., Run],
    perform: Callable[..., Any],
    tmp_path: Path,
) -> None:
    run = make_run("quantised", DATASET, of="standard", protocol_settings=("max_epochs=20",))
    store, (parent, _) = RunStore(tmp_path / "runs"), with_parents([run])
    assert run.label == "standard (f=2, depth=1, int8)"
    before, after = perform(parent, store), perform(run, store)
    assert (after.epochs, after.parent_epochs, after.parameters) == (before.epochs, before.epochs, before.parameters)
    folder, record = store.read(run.spec)
    weights = load_model(folder / "model").state_dict()
    for name, value in load_model(store.folder(parent.spec) / "model").state_dict().items():
        assert torch.equal(weights[name], value)

    # Ranges come from all training images, and from nothing else.
    prepared = run.dataset.prepare({image.case for image in run.dataset.images})
    training = [prepared[image.case].images[image.slice] for image in run.split.training]
    trained_run, tested_run, timed = quantised_files
    for _, images in (trained_run, tested_run):
        assert len(images) == len(training)
        assert all((one == other).all() for one, other in zip(images, training, strict=True))
    assert len(timed[1]) == 1

    # Dice of label maps that the quantised file gives, without this package's evaluation.
    segment, scores = openvino_session(tested_run[0], "int8", 1), []
    for case in run.split.test:
        labels = segment(np.array(prepared[case].images)).argmax(1)
        scores.append(dice_by_hand(labels, np.asarray(prepared[case].labels), len(run.dataset.classes)))
    cases = pd.read_csv(folder / "cases.csv", keep_default_na=False)
    np.testing.assert_allclose(cases["dice"], np.ravel(scores), atol=1e-6)
    assert after.test_dice == pytest.approx(np.mean(scores))

    timing = pd.read_csv(folder / "latency.csv")
    assert (set(timing["backend"]), set(timing["precision"])) == ({"openvino"}, {"int8"})
    assert (timing["file_bytes"] == timed[0].stat().st_size).all()

    # A check of submissions segments cases again, from weights and training images.
    again = Reinference(store, None).score(run.spec.id, list(run.split.test))
    table = pd.DataFrame([CaseScore.model_dump(each, by_alias=True) for each in again])
    np.testing.assert_allclose(table["dice"], cases["dice"], atol=1e-6)
    assert all((one == other).all() for one, other in zip(quantised_files[-1][1], training, strict=True))

    found = find_networks(store.root, [run.spec.id, parent.spec.id], None, ((), {}), None, None)
    names = [f"{parent.label} {parent.spec.id}", f"{run.label} {run.spec.id}"]
    assert list(found.networks) == names  # the standard network comes first, though the other is a standard one too
    assert found.precisions == {names[1]: "int8"}

    known = {each.spec.id: store.read(each.spec)[1] for each in (parent, run)}
    assert list(_wrong_parents(known, None)) == []
    other = record.files | {"model/weights.safetensors": "0" * 64}
    known[run.spec.id] = record.model_copy(update={"files": other})
    (line,) = _wrong_parents(known, None)
    assert "its network is not that of its parent run 'trained'" in line


def test_machine_and_parent_are_checked_before_anything_is_trained(
    low_precision: None, make_run: Callable[..., Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert make_run("quantised", DATASET, of="swift", f=2, depth=1).architecture.out_channels == 4
    for of in ("quantised", "standrad"):
        with pytest.raises(UserError, match="must be one of standard, standard_d"):
            make_run("quantised", DATASET, of=of)
    for settings, message in (
        ({"recovery_epoch": 3}, "unknown hyperparameter of stamp 'recovery_epoch'; did you mean 'recovery_epochs'?"),
        ({"recovery_epochs": -3}, "strategy 'stamp': recovery_epochs=-3: input should be greater than or equal to 1"),
    ):
        for network in (None, ("basic_unet", {})):
            with pytest.raises(UserError) as caught:
                make_run("quantised", DATASET, of="stamp", settings=settings, network=network)
            assert str(caught.value).startswith(message)
            assert "pydantic" not in str(caught.value)
    with pytest.raises(UserError, match="cannot start from network 'basic_unet', because it trains the network swift"):
        make_run("quantised", DATASET, of="swift", network=("basic_unet", {}))
    monkeypatch.setattr(instructions, "_instructions", lambda: frozenset({"avx2"}))
    with pytest.raises(UserError, match=r"precision 'int8': this CPU has no instructions that make it faster"):
        make_run("quantised", DATASET, of="standard", f=3)
