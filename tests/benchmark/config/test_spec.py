"""Identities."""

from __future__ import annotations

from typing import Any

import pytest

from stampbench.benchmark.config.protocol import PAPER, QUICK
from stampbench.benchmark.config.spec import DatasetIdentity, RunSpec

BASE: dict[str, Any] = {
    "strategy": "stamp",
    "hyperparameters": {"f": 4},
    "dataset": DatasetIdentity(name="d", version="1", checksum="abc", spatial_dims=2, size=(16, 16)),
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
        ({"n_train": 50}, False),
        ({"protocol": QUICK}, False),
        ({"protocol": PAPER.model_copy(update={"batch_size": 8})}, False),
        ({"dataset": BASE["dataset"].model_copy(update={"version": "2"})}, False),
        ({"dataset": BASE["dataset"].model_copy(update={"checksum": "abd"})}, False),
        ({"dataset": BASE["dataset"].model_copy(update={"size": (32, 16)})}, False),
    ],
)
def test_everything_that_makes_a_run_changes_its_id(change: dict[str, Any], same_group: bool) -> None:
    base, other = RunSpec(**BASE), RunSpec(**{**BASE, **change})
    assert other.id != base.id
    assert (other.group == base.group) is same_group


def test_an_id_survives_json_and_is_stable() -> None:
    spec = RunSpec(**BASE)
    assert RunSpec(**BASE).id == spec.id
    dumped = spec.stored()
    dumped["protocol"] |= {"summary": "another wording"}
    assert RunSpec.model_validate(dumped).id == spec.id


def test_seeds_differ_by_purpose_seed_and_fold_and_not_by_strategy() -> None:
    spec = RunSpec(**BASE)
    assert spec.stream("order") == RunSpec(**{**BASE, "strategy": "standard"}).stream("order")
    others = [
        spec.stream("dropout"),
        *(RunSpec(**{**BASE, key: 1}).stream("order") for key in ("seed", "fold")),
    ]
    assert spec.stream("order") not in others


def test_labels_show_what_was_changed() -> None:
    spec = RunSpec(**BASE)
    assert spec.label({"f": 4}) == "stamp"
    assert spec.label({"f": 8}) == "stamp (f=4)"
    changed = RunSpec(**{**BASE, "protocol": PAPER.model_copy(update={"batch_size": 8})})
    assert (spec.protocol_label, changed.protocol_label) == ("paper", "paper (batch_size=8)")
