"""Pages of published runs: words instead of paths, and the cases under other strategies."""

from __future__ import annotations

from pathlib import Path

import pytest

from stampbench.benchmark.records.reinference import Reinference
from stampbench.benchmark.records.run_pages import run_details
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.tables import read_records
from stampbench.reports.run_data import RunDetails

PUBLISHED = Path(__file__).parents[3] / "leaderboards"


@pytest.fixture(scope="module")
def pages() -> dict[str, RunDetails]:
    """Pages of the published runs on acdc with 25 images."""
    records = read_records(PUBLISHED, [])
    runs = records.runs
    records = records.of(runs[(runs["dataset"] == "acdc") & (runs["n_train"] == 25)])
    found = run_details(
        records, Reinference(RunStore(PUBLISHED), None), PUBLISHED, pictures=True, report=lambda done, total: None
    )
    return {page.run: page for page in found}


def test_a_published_run_says_that_weights_are_not_published(pages: dict[str, RunDetails]) -> None:
    for page in pages.values():
        assert page.picture == "No pictures: weights are not published."
        assert str(PUBLISHED) not in str(page)


def test_all_cases_are_there_with_the_median_of_the_other_strategies(pages: dict[str, RunDetails]) -> None:
    page = pages["5ab71a7b9b57"]  # of stamp_plus
    assert len(page.cases) == 30
    assert [case.dice for case in page.cases] == sorted(case.dice for case in page.cases)
    assert next(iter(page.strategies)) == "stamp_plus"
    assert len(page.strategies) == 8
    first = page.cases[0]
    others = sorted(dice[0] or 0 for name, dice in page.strategies.items() if name != "stamp_plus")
    assert first.others == pytest.approx(others[3], abs=0.001), "the median of seven"


def test_validation_and_test_dice_that_differ_much_are_noted(pages: dict[str, RunDetails]) -> None:
    assert "Validation Dice 0.223 and test Dice 0.094 differ by 0.128." in pages["5ab71a7b9b57"].warning
    assert {bool(page.warning) for page in pages.values()} == {True, False}


def test_a_run_names_its_training_set_where_there_are_several() -> None:
    records = read_records(PUBLISHED, [])
    runs = records.runs.query("dataset == 'dsb2018' and protocol == 'paper' and strategy == 'standard'")
    records = records.of(runs)
    pages = run_details(records, Reinference(RunStore(PUBLISHED), None), PUBLISHED, pictures=False, report=max)
    titles = [page.title for page in pages]
    assert len(set(titles)) == len(titles) == 20
    assert "standard on dsb2018, 25 images, training set 3, fold 0, seed 1" in titles
