"""Training costs that are charged to a run."""

from __future__ import annotations

from typing import Any

import pytest
import torch

from stampbench.benchmark.training import charges as module
from stampbench.benchmark.training.charges import Charges
from stampbench.benchmark.training.parent import FinishedParent

CPU = torch.device("cpu")
UNUSED: Any = None


def parent(joules: float | None) -> FinishedParent:
    return FinishedParent(UNUSED, UNUSED, epochs=10, ranking_passes=3, seconds=2.5, joules=joules)


def set_counter(monkeypatch: pytest.MonkeyPatch, *readings: float | None) -> None:
    remaining = iter(readings)
    monkeypatch.setattr(module, "joules", lambda device: next(remaining))


def test_parent_run_is_charged_once_and_in_full() -> None:
    charges = Charges(epochs=5, ranking_passes=1, seconds=1.0)
    charges.charge_parent("teacher", parent(joules=40.0))
    charges.charge_parent("teacher", parent(joules=40.0))
    assert charges == Charges(15, 10, 4, 3.5, 40.0, ["teacher"])
    charges.charge_parent("shapes", parent(joules=2.0))
    assert charges == Charges(25, 20, 7, 6.0, 42.0, ["teacher", "shapes"])


def test_parent_run_without_an_energy_counter_adds_no_energy() -> None:
    for before in (None, 7.0):
        charges = Charges(joules=before)
        charges.charge_parent("teacher", parent(joules=None))
        assert charges.joules == before


def test_time_and_energy_of_work_are_added(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter((100.0, 103.5, 200.0, 201.0))
    monkeypatch.setattr(module.time, "monotonic", lambda: next(times))
    set_counter(monkeypatch, 1000.0, 1020.0, 1100.0, 1105.0)
    charges = Charges()
    with charges.measured(CPU):
        pass
    assert (charges.seconds, charges.joules) == (3.5, 20.0)
    with charges.measured(CPU):
        pass
    assert (charges.seconds, charges.joules) == (4.5, 25.0)


@pytest.mark.parametrize("readings", [(None,), (5.0, None), (5.0, 4.0)], ids=["absent", "lost", "overflow"])
def test_energy_is_not_charged_without_two_increasing_readings(
    readings: tuple[float | None, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    set_counter(monkeypatch, *readings)
    charges = Charges()
    with charges.measured(CPU):
        pass
    assert charges.joules is None
    assert charges.seconds >= 0


def test_charges_survive_as_plain_data() -> None:
    charges = Charges(3, 1, 2, 4.5, 6.0, ["teacher"])
    state = charges.state()
    assert state == {
        "epochs": 3,
        "parent_epochs": 1,
        "ranking_passes": 2,
        "seconds": 4.5,
        "joules": 6.0,
        "parents": ["teacher"],
    }
    assert Charges(**state) == charges
    charges.parents.append("shapes")
    assert state["parents"] == ["teacher"]
