"""Runs that start from trained weights of a user instead of a parent run."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
import torch

from stampbench.benchmark.config.suite import Block
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.execution.expand_suite import expand_block
from stampbench.benchmark.execution.job import Task
from stampbench.benchmark.execution.rerun import _command
from stampbench.benchmark.execution.run import Run
from stampbench.benchmark.records.contradictions import find_contradictions
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.run_tables import read_cases
from stampbench.benchmark.records.schema import Summary
from stampbench.models.errors import ModelError
from stampbench.models.model import build
from stampbench.models.networks.monai import DynUNet
from stampbench.models.tracing.traced_architecture import TracedArchitecture
from stampbench.models.weights.serialization import load_model

Perform = Callable[..., Summary]
PHANTOM = "phantom2d:size=16,cases=8"
SMALL = {"folds": 2, "max_epochs": 2, "batch_size": 2, "finetune_patience": 1}


def planned(weights: Path | None, strategy: str = "prune_finetune", **changes: Any) -> list[Task]:
    """Plan a tiny run from weights on the network `dynunet`."""
    own = {} if strategy == "standard" else {"filters_per_step": 12}
    block = {
        "strategies": [{"name": strategy, "set": own | changes.pop("set", {})}],
        "networks": [{"name": "dynunet", "set": {"f": 2, "depth": 2}}],
        "datasets": [PHANTOM], "folds": [0], "weights": None if weights is None else str(weights),
        "protocol": "quick", "protocol_set": SMALL,
    }  # fmt: skip
    return expand_block(Block.model_validate(block | changes), lambda request: request.open(None))


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """A file with weights of the network of `planned`."""
    torch.manual_seed(5)
    model = build(TracedArchitecture.unpruned("dynunet", DynUNet(f=2, depth=2), 2, 1, 4))
    torch.save(model.net.state_dict(), tmp_path / "model.pt")
    return tmp_path / "model.pt"


def test_pruning_starts_from_the_weights_and_is_charged_nothing_for_them(
    weights: Path, perform: Perform, tmp_path: Path
) -> None:
    (task,) = planned(weights)
    run = task.run
    assert run.expected.parent_epochs == 0
    summary = perform(run, RunStore(tmp_path / "runs"))
    folder, record = RunStore(tmp_path / "runs").read(run.spec)
    trajectory = pd.read_csv(folder / "trajectory.csv")
    assert (trajectory["epoch"][0], summary.parent_epochs) == (0, 0)
    assert summary.epochs == trajectory["epoch"].iloc[-1] > 0
    stored = json.loads((folder / "run.json").read_text())["spec"]
    assert stored["weights"] == hashlib.sha256(weights.read_bytes()).hexdigest()
    assert stored["sources"] == {}
    assert f"weights={stored['weights'][:8]}" in record.label
    assert list(find_contradictions(folder, record, pd.DataFrame(read_cases(folder, record)))) == []
    with pytest.raises(UserError, match="starts from trained weights that are not part of its record"):
        _command(record.command, record.id)


def test_first_checkpoint_is_the_users_network(weights: Path, perform: Perform, tmp_path: Path) -> None:
    (task,) = planned(weights, set={"min_filters": 1024})  # nothing can be removed: the network stays
    store = RunStore(tmp_path / "runs")
    assert perform(task.run, store).epochs == 0
    selected = load_model(store.folder(task.run.spec) / "model")
    expected = torch.load(weights, weights_only=True)
    assert all(torch.equal(value, expected[name]) for name, value in selected.net.state_dict().items())


def test_id_depends_on_the_content_of_the_file_and_not_on_its_place(weights: Path, tmp_path: Path) -> None:
    (task,) = planned(weights)
    copy = shutil.copy(weights, tmp_path / "copy.ckpt")
    assert planned(Path(copy))[0].run.spec.id == task.run.spec.id
    state = torch.load(weights, weights_only=True)
    torch.save({name: value * 2 for name, value in state.items()}, copy)
    assert planned(Path(copy))[0].run.spec.id != task.run.spec.id
    trained_here = planned(None)
    assert [each.run.resolved.name for each in trained_here] == ["standard", "prune_finetune"]
    assert "weights" not in trained_here[1].run.spec.stored()


def test_worker_finds_the_weights_and_refuses_changed_ones(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (task,) = planned(weights)
    monkeypatch.chdir(tmp_path)
    (relative,) = planned(Path("model.pt"))
    monkeypatch.chdir("/")
    assert relative.job.plan(None).spec.id == task.job.plan(None).spec.id == task.job.id
    state = torch.load(weights, weights_only=True)
    torch.save({name: value + 1 for name, value in state.items()}, weights)
    with pytest.raises(UserError, match="data, weights, plug-ins or versions of stampbench differ"):
        task.job.plan(None)


@pytest.mark.parametrize(
    ("strategy", "remedy"), [("standard", "choose 'prune_finetune'"), ("stamp_plus", "set pretrained=true")]
)
def test_strategy_that_trains_from_the_beginning_refuses_weights(weights: Path, strategy: str, remedy: str) -> None:
    with pytest.raises(UserError, match=f"strategy '{strategy}': does not start from a trained network.*{remedy}"):
        planned(weights, strategy)


def test_strategy_that_is_set_to_start_from_a_trained_network_takes_weights(weights: Path) -> None:
    (task,) = planned(weights, "stamp_plus", set={"pretrained": True})
    assert list(task.run.trained) == ["converged"]


def test_weights_of_another_network_are_refused_before_training(weights: Path) -> None:
    with pytest.raises(ModelError, match="not those of network 'residual_unet'"):
        planned(weights, networks=[{"name": "residual_unet", "set": {"f": 2, "depth": 2}}])
    with pytest.raises(ModelError, match="not those of the U-Net with 1 channels and 4 classes in 2D"):
        planned(weights, networks=[{"name": "unet"}], set={"depth": 1})


def test_folder_of_a_run_is_pruned_further(perform: Perform, make_run: Callable[..., Run], tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs")
    first = make_run("stamp", PHANTOM, filters_per_step=4, stop_fraction=0.5, recovery_epochs=1)
    perform(first, store)
    pruned = load_model(store.folder(first.spec) / "model").architecture
    (task,) = planned(store.folder(first.spec), networks=[{"name": "unet"}], set={"f": 2, "depth": 1})
    perform(task.run, store)
    trajectory = pd.read_csv(store.folder(task.run.spec) / "trajectory.csv")
    assert trajectory["widths"][0] == " ".join(map(str, pruned.widths))
    folder, record = store.read(task.run.spec)
    assert list(find_contradictions(folder, record, pd.DataFrame(read_cases(folder, record)))) == []


def test_nnunets_result_folder_brings_its_network(
    nnunet_result: Callable[..., Any], perform: Perform, tmp_path: Path
) -> None:
    folder, _ = nnunet_result(
        [[1, 1, 1], [1, 2, 2], [2, 2, 2]], [[1, 3, 3], [3, 3, 3], [3, 3, 3]], widths=(2, 4, 4), classes=4
    )
    network = {"name": "nnunet_reference"}
    common = {"datasets": ["phantom3d:size=16,cases=8"], "protocol": "nnunet"}
    (task,) = planned(folder, networks=[network], **common)
    assert task.run.spec.network is not None
    values = task.run.spec.network.hyperparameters
    assert values["strides"] == [[1, 1, 1], [2, 2, 1], [2, 2, 2]]
    assert values["kernels"][0] == [3, 3, 1]
    assert values["filters"] == [2, 4, 4]
    assert task.job.plan(None).spec.id == task.job.id
    perform(task.run, RunStore(tmp_path / "runs"))
    with pytest.raises(UserError, match="of nnU-Net, whose network is rebuilt as 'nnunet_reference', not as 'dynunet'"):
        planned(folder, **common)
    with pytest.raises(UserError, match=r"filters=\(2, 4, 8\), but the weights .* have \(2, 4, 4\); leave it out"):
        planned(folder, networks=[network | {"set": {"filters": [2, 4, 8]}}], **common)
    with pytest.raises(ModelError, match="configuration '3d_fullres' is 3D, the images are 2D"):
        planned(folder, networks=[network])
