"""Networks whose hyperparameters follow from the dataset: planned, recorded, and run under nnU-Net's protocol."""

from __future__ import annotations

import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from stampbench.benchmark.config.dataset_description import DatasetDescription
from stampbench.benchmark.config.resolve import resolve_network
from stampbench.benchmark.execution.run import Draw, Run, plan_run, with_parents
from stampbench.benchmark.records.contradictions import find_contradictions
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.run_tables import read_cases
from stampbench.benchmark.records.schema import Record, Summary
from stampbench.datasets.dataset import open_dataset
from stampbench.datasets.definition import folder_definition
from stampbench.models.model import parameter_count

Perform = Callable[..., Summary]
MakeRun = Callable[..., Run]
THICK = np.diag([1.0, 1.0, 4.0, 1.0])


def test_levels_follow_from_size_and_spacing_and_are_part_of_the_specification(
    make_run: MakeRun, decathlon: Callable[..., Path]
) -> None:
    folder = decathlon(cases=8, shape=(30, 32, 8), affine=THICK)
    dataset = open_dataset(folder_definition(folder).model_copy(update={"size": (32, 32, 8)}))
    planned = make_run("standard", network=("nnunet_reference", {"f": 2}))
    run = plan_run(planned.resolved.on(resolve_network("nnunet_reference", {"f": 2})), dataset,
                   planned.spec.protocol, Draw(None, fold=0, seed=0))  # fmt: skip
    assert run.spec.network is not None
    values = run.spec.network.hyperparameters
    assert values["strides"] == [[1, 1, 1], [2, 2, 1], [2, 2, 1], [2, 2, 2]]
    assert values["kernels"] == [[3, 3, 1], [3, 3, 1], [3, 3, 3], [3, 3, 3]]
    assert values["filters"] == []  # f doubled
    assert DatasetDescription.of(dataset).spacing == [1.0, 1.0, 4.0]
    again = resolve_network("nnunet_reference", values)
    repeated = plan_run(run.resolved.on(again), dataset, run.spec.protocol, Draw(None, fold=0, seed=0))
    assert (repeated.spec.id, repeated.label) == (run.spec.id, run.label)


def test_label_names_what_a_user_has_set_and_not_what_was_planned(make_run: MakeRun) -> None:
    assert make_run("flat", f=4).label == "flat (depth=1)"
    run = make_run("standard", network=("nnunet_reference", {"f": 2}))
    assert run.label == "standard (network=nnunet_reference f=2, f=2, depth=1)"
    shallow = make_run("standard", network=("nnunet_reference", {"f": 2, "strides": [[1, 1], [2, 2], [2, 1]]}))
    assert "strides=[[1, 1], [2, 2], [2, 1]]" in shallow.label
    assert shallow.spec.id != run.spec.id
    deep = make_run("standard", network=("nnunet_reference", {"kernels": [[5, 5], [5, 5], [3, 3]]}))
    assert "kernels=[[5, 5], [5, 5], [3, 3]]" in deep.label


@pytest.mark.parametrize(
    ("name", "dataset"),
    [
        ("standard", "phantom2d:size=16,cases=8"),
        ("prune_finetune", "phantom2d:size=16,cases=8"),
        ("stamp_plus", "phantom3d:size=16,cases=8"),
        ("random_largest", "phantom3d:size=16,cases=8"),
    ],
)
def test_strategies_run_on_nnunets_network_under_its_protocol(
    perform: Perform, make_run: MakeRun, tmp_path: Path, name: str, dataset: str
) -> None:
    own = {} if name == "standard" else {"filters_per_step": 25, "recovery_epochs": 1}
    run = make_run(
        name, dataset, protocol="nnunet", protocol_settings=("max_epochs=2",),
        network=("nnunet_reference", {"f": 2, "most_filters": 4}), **own,
    )  # fmt: skip
    store = RunStore(tmp_path / "runs")
    for each in with_parents([run]):
        summary = perform(each, store)
        folder, record = store.read(each.spec)
        assert list(find_contradictions(folder, record, pd.DataFrame(read_cases(folder, record)))) == []
        assert summary.epochs >= 2
    assert_repeatable(record)


def assert_repeatable(record: Record) -> None:
    """Check that the recorded command has the planned values, so that later planning rules do not change it."""
    words = shlex.split(record.command)
    assert words[words.index("--network") + 1] == "nnunet_reference"
    assert any(word.startswith("strides=[[1, 1") for word in words)
    assert words[words.index("--protocol") + 1] == "nnunet"


def test_size_is_that_of_the_planned_levels(make_run: MakeRun) -> None:
    """Of two halvings, not of the four that the network has without a dataset: U-Nets with f = 4 have 122,532."""
    run = make_run("standard", network=("nnunet_reference", {"size": 4}))
    assert run.spec.network is not None
    assert len(run.spec.network.hyperparameters["strides"]) == 3
    assert run.spec.network.hyperparameters["f"] > 4
    assert parameter_count(run.architecture) == pytest.approx(122_532, rel=0.1)
