"""Ids, groups, seeds and labels of run specifications."""

from __future__ import annotations

from typing import Any

import pytest

from stampbench.benchmark.config.protocol import PAPER, QUICK
from stampbench.benchmark.config.spec import DatasetIdentity, RunSpec

BASE: dict[str, Any] = {
    "strategy": "stamp",
    "hyperparameters": {"f": 4},
    "dataset": DatasetIdentity(name="d", version="1", checksum="ab" * 32, spatial_dims=2, size=(16, 16)),
    "n_train": 25,
    "fold": 0,
    "seed": 0,
    "protocol": PAPER,
}


@pytest.mark.parametrize(
    ("change", "same_group"),
    [
        ({"strategy": "standard"}, True),
        ({"hyperparameters": {"f": 2}}, True),
        ({"fold": 1}, True),
        ({"seed": 1}, True),
        ({"training_set": 1}, True),
        ({"n_train": 50}, False),
        ({"protocol": QUICK}, False),
        ({"protocol": PAPER.model_copy(update={"batch_size": 8})}, False),
        ({"dataset": BASE["dataset"].model_copy(update={"version": "2"})}, False),
        ({"dataset": BASE["dataset"].model_copy(update={"checksum": "abd"})}, False),
        ({"dataset": BASE["dataset"].model_copy(update={"size": (32, 16)})}, False),
        ({"dataset": BASE["dataset"].model_copy(update={"split_version": 2})}, False),
    ],
)
def test_every_part_of_a_specification_changes_its_id(change: dict[str, Any], same_group: bool) -> None:
    base, other = RunSpec(**BASE), RunSpec(**{**BASE, **change})
    assert other.id != base.id
    assert (other.group == base.group) is same_group


def test_id_is_the_same_after_json_and_with_another_summary() -> None:
    spec = RunSpec(**BASE)
    assert RunSpec(**BASE).id == spec.id
    dumped = spec.stored()
    dumped["protocol"] |= {"summary": "another wording"}
    assert RunSpec.model_validate(dumped).id == spec.id


def test_training_set_0_is_not_stored_so_that_older_ids_stay_valid() -> None:
    spec = RunSpec(**BASE)
    assert "training_set" not in spec.stored()
    assert RunSpec(**BASE, training_set=0).id == spec.id
    assert RunSpec.model_validate(RunSpec(**BASE, training_set=2).stored()).training_set == 2


def test_version_1_of_splits_is_not_stored_so_that_older_ids_stay_valid() -> None:
    assert "split_version" not in RunSpec(**BASE).stored()["dataset"]
    newer = BASE | {"dataset": BASE["dataset"].model_copy(update={"split_version": 2})}
    assert RunSpec.model_validate(RunSpec(**newer).stored()).dataset.split_version == 2


def test_streams_depend_on_purpose_seed_fold_and_training_set_but_not_on_strategy() -> None:
    spec = RunSpec(**BASE)
    assert spec.stream("order") == RunSpec(**{**BASE, "strategy": "standard"}).stream("order")
    others = [
        spec.stream("dropout"),
        *(RunSpec(**{**BASE, key: 1}).stream("order") for key in ("seed", "fold", "training_set")),
    ]
    assert spec.stream("order") not in others


def test_labels_show_settings_that_differ_from_defaults() -> None:
    spec = RunSpec(**BASE)
    assert spec.label({"f": 4}) == "stamp"
    assert spec.label({"f": 8}) == "stamp (f=4)"
    of = {"of": "stamp_plus", "precision": "int8", "settings": {"filters_per_step": 2}, "f": 8}
    quantised = RunSpec(**{**BASE, "strategy": "quantised", "hyperparameters": of})
    assert quantised.label({"f": None}) == "stamp_plus (f=8, filters_per_step=2, int8)"
    assert (quantised.test_precision, spec.test_precision) == ("int8", None)
    hostile = RunSpec(**{**BASE, "strategy": "quantised", "hyperparameters": of | {"precision": {"x": []}}})
    assert (hostile.test_precision, "quantised" in hostile.label({})) == (None, True)
    changed = RunSpec(**{**BASE, "protocol": PAPER.model_copy(update={"batch_size": 8})})
    assert (spec.protocol_label, changed.protocol_label) == ("paper", "paper (batch_size=8)")
