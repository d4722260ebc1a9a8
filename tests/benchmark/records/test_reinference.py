"""Inference repeated with recorded networks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from stampbench.benchmark.config.dataset_request import find_definition
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.execution.run import Run
from stampbench.benchmark.measure.evaluate import evaluate
from stampbench.benchmark.records import reinference
from stampbench.benchmark.records.reinference import Reinference
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.schema import Record
from stampbench.datasets.dataset import Dataset, open_dataset
from stampbench.datasets.definition import Definition
from stampbench.datasets.errors import DatasetError

DATASET = "phantom2d:size=16,cases=10"


def cases_of(store: RunStore, run: Run) -> pd.DataFrame:
    path = store.folder(run.spec) / "cases.csv"
    exact = {"float_precision": "round_trip"} if pd.__version__ < "3" else {}  # pandas 2 rounds by default
    return pd.read_csv(path, keep_default_na=False, **exact)


def as_table(rows: list[Any]) -> pd.DataFrame:
    return pd.DataFrame([row.model_dump(by_alias=True) for row in rows])


@pytest.fixture
def pocketnet_run(make_run: Callable[..., Run]) -> Run:
    """Run under PocketNet's protocol on a dataset with a surface tolerance of 3 pixels instead of 1."""
    definition = find_definition(DATASET).model_copy(update={"surface_tolerance": 3.0})
    run = make_run("pocket_unet", DATASET, protocol="pocketnet", protocol_settings=("max_epochs=2",))
    return run._replace(dataset=open_dataset(definition))


def test_scores_equal_the_recorded_ones_with_the_settings_of_the_run(
    pocketnet_run: Run, perform: Callable[..., Any], tmp_path: Path
) -> None:
    """PocketNet's protocol keeps the largest component and adds the average Hausdorff distance."""
    store, run = RunStore(tmp_path / "runs"), pocketnet_run
    perform(run, store)
    recorded = cases_of(store, run)
    rows = Reinference(store, None).score(run.spec.id, list(run.split.test))
    pd.testing.assert_frame_equal(as_table(rows), recorded, check_exact=True)
    assert recorded["average_hausdorff_set"].notna().all()
    # Each of the settings changes some score, so that equality shows that all of them were applied.
    model, record = store.model(run.spec.id)
    model.kernels = "fast"
    cases = list(run.dataset.prepare(run.split.test).values())
    for changes, column in (
        ({"surface_tolerance": 1.0}, "nsd"),
        ({"postprocessing": "none"}, "predicted_voxels"),
    ):
        settings = record.evaluation.model_copy(update=changes)
        other = evaluate(model, cases, run.dataset.classes, model.head.weight.device, settings)
        assert not as_table(other)[column].equals(recorded[column])


def test_runs_without_optional_scores_get_the_recorded_ones(
    make_run: Callable[..., Run], perform: Callable[..., Any], tmp_path: Path
) -> None:
    store, run = RunStore(tmp_path / "runs"), make_run("standard", DATASET)
    perform(run, store)
    found = as_table(Reinference(store, None).score(run.spec.id, list(run.split.test)))
    assert found.pop("average_hausdorff_set").isna().all()
    pd.testing.assert_frame_equal(found, cases_of(store, run), check_exact=True)


def test_examples_show_the_masks_that_were_scored(
    pocketnet_run: Run, perform: Callable[..., Any], tmp_path: Path
) -> None:
    store, run = RunStore(tmp_path / "runs"), pocketnet_run
    perform(run, store)
    recorded = cases_of(store, run).set_index(["case", "class"])
    chosen = list(run.split.test)[:2]
    examples = list(Reinference(store, None).examples(run.spec.id, chosen))
    assert [example.case for example in examples] == chosen
    for example in examples:
        for value, name in enumerate(run.dataset.classes[1:], start=1):
            row = recorded.loc[(example.case, name)]
            assert np.count_nonzero(example.prediction == value) == row["predicted_voxels"]
            assert np.count_nonzero(example.reference == value) == row["reference_voxels"]


def test_other_data_is_refused(make_run: Callable[..., Run], perform: Callable[..., Any], tmp_path: Path) -> None:
    store, run = RunStore(tmp_path / "runs"), make_run("standard", DATASET)
    perform(run, store)
    reinference = Reinference(store, None, folder="phantom2d:size=16,cases=12")
    with pytest.raises(UserError, match="dataset 'phantom2d' here is not the recorded one: checksum mismatch"):
        reinference.score(run.spec.id, list(run.split.test))


@pytest.mark.parametrize(
    ("called", "opened"),
    [
        ("phantom2d:size=16,cases=10000", True),
        ("phantom2d:size=16,cases=10001", False),
        ("phantom2d:size=32,cases=10", False),  # another size than the recorded images
    ],
)
def test_phantoms_of_records_are_not_larger_than_the_limit(
    called: str,
    opened: bool,
    make_run: Callable[..., Run],
    started: Callable[[Run], Record],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A stranger's record says how many images are generated; they are not before the number is checked."""
    record = started(make_run("standard", DATASET))
    record = record.model_copy(update={"dataset": record.dataset.model_copy(update={"called": called})})
    found: list[str] = []

    def open_dataset(definition: Definition, data_root: Path | None) -> Dataset:
        found.append(definition.name)
        raise DatasetError("opened")

    monkeypatch.setattr(reinference, "open_dataset", open_dataset)
    message = "^opened$" if opened else f"'{called}' is not the recorded one, or has more than 10,000 cases"
    with pytest.raises(UserError, match=message):
        Reinference(RunStore(tmp_path), None, trusted=False).dataset(record)
    assert found == (["phantom2d"] if opened else [])
