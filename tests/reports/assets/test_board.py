"""A leaderboard of the page: budget, answer, links, files and ranking."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stampbench.reports.budget import Budget, answer
from stampbench.reports.leaderboard import Board
from stampbench.reports.overall import overall_ranking


def test_it_opens_on_the_leaderboard_with_most_decisions_and_seven_columns_fit(small: Any, visit: Any) -> None:
    visit.open(small.index)
    assert "set1" in visit.page.locator("#title").inner_text()
    assert visit.headings() == ["strategy", "Dice", "Δ to standard", "parameters", "latency", "epochs", "runs"]
    assert visit.page.locator("#leaderboard").bounding_box()["width"] <= 1312
    frame = "document.querySelector('#leaderboard').parentElement"
    assert visit.page.evaluate(f"{frame}.scrollWidth <= {frame}.clientWidth")
    assert visit.page.locator("#dataset").inner_text() == "cells & nuclei"
    visit.page.get_by_role("combobox", name="Leaderboard").select_option("g0")
    assert "set0" in visit.page.locator("#title").inner_text()
    assert visit.page.locator("#dataset").inner_text() == "", "a dataset of a user has no description"


@pytest.mark.parametrize(
    ("fields", "budget"),
    [
        ({}, Budget()),
        ({"parameters": "20k"}, Budget(parameters=20_000)),
        ({"parameters": "8k", "latency (× standard)": "1.15"}, Budget(parameters=8_000, latency=1.15)),
        ({"parameters": "10"}, Budget(parameters=10)),
        ({"latency (× standard)": ".5"}, Budget(latency=0.5)),
        ({"FLOPs": "1.5M", "epochs": "2k"}, Budget(flops=1.5e6, epochs=2000)),
    ],
)
def test_the_answer_is_that_of_the_command(fields: dict[str, str], budget: Budget, small: Any, visit: Any) -> None:
    visit.open(small.index)
    for name, text in fields.items():
        visit.page.get_by_role("textbox", name=name, exact=True).fill(text)
    assert visit.page.locator("#answer").inner_text() == answer(small.boards[1], budget)
    shown = set(visit.column("strategy")) - {""}
    assert len(shown) <= len(budget_rows(small.boards[1], budget))


def budget_rows(board: Board, budget: Budget) -> pd.DataFrame:
    return board.rows[budget.fits(board.rows)]


def test_a_slider_sets_a_limit_that_the_row_itself_passes(small: Any, visit: Any) -> None:
    visit.open(small.index)
    slider = visit.page.get_by_label("parameters, slider")
    slider.focus()
    visit.page.keyboard.press("Home")
    assert visit.page.get_by_role("textbox", name="parameters", exact=True).input_value() == "1 k"
    assert visit.column("parameters") == ["1.00 k"]
    visit.page.keyboard.press("End")
    assert visit.page.get_by_role("textbox", name="parameters", exact=True).input_value() == ""
    assert len(visit.column("parameters")) == 3


def test_columns_are_chosen_and_the_address_keeps_the_view(small: Any, visit: Any) -> None:
    visit.open(small.index)
    visit.page.get_by_text("Columns", exact=True).click()
    visit.page.get_by_role("group", name="Columns").get_by_label("FLOPs").check()
    visit.page.keyboard.press("Escape")
    assert not visit.page.get_by_role("group", name="Columns").is_visible()
    visit.page.get_by_label("Compare flat").check()
    visit.page.get_by_label("Compare standard").check()
    visit.page.get_by_role("textbox", name="parameters", exact=True).fill("30k")
    visit.sort("Dice")
    view = (visit.headings(), visit.column("Dice"), visit.page.locator("#answer").inner_text())
    link = visit.page.evaluate("location.hash")
    visit.open(small.index, link)
    assert "FLOPs" in visit.headings()
    assert view == (visit.headings(), visit.column("Dice"), visit.page.locator("#answer").inner_text())
    assert visit.page.locator("tr.selected").count() == 1, "flat has more than 30 k parameters"
    assert "flat − standard" in visit.page.locator("#pair h3").inner_text()
    visit.open(small.index, "#board=nonsense&selected={&sort=x%20y&parameters=-3&columns=3")
    assert len(visit.column("strategy")) == 3, "a broken link opens the page as it is"


def test_csv_and_json_are_downloaded(small: Any, visit: Any) -> None:
    visit.open(small.index)
    rows = small.boards[1].rows
    texts = {}
    for kind in ("CSV", "JSON"):
        with visit.page.expect_download() as waiting:
            visit.page.get_by_role("button", name=kind, exact=True).click()
        assert waiting.value.suggested_filename == f"set1_25_images_paper.{kind.lower()}"
        texts[kind] = Path(waiting.value.path()).read_text()
    table = list(csv.DictReader(io.StringIO(texts["CSV"])))
    assert [row["strategy"] for row in table] == list(rows["strategy"])
    assert [float(row["dice"]) for row in table] == pytest.approx(list(rows["dice"]))
    content = json.loads(texts["JSON"])
    assert [row["strategy"] for row in content["rows"]] == list(rows["strategy"])
    assert content["title"] == small.boards[1].title


def test_a_strategy_links_to_its_description_and_its_runs(small: Any, visit: Any) -> None:
    visit.open(small.index)
    visit.page.locator("#leaderboard").get_by_role("button", name="stamp <b>", exact=True).click()
    assert visit.page.evaluate("document.activeElement.nextElementSibling.textContent") == "prunes & trains"
    visit.page.get_by_role("button", name="6 runs of flat").click()
    assert visit.column("strategy", "runs") == ["flat"] * 6
    visit.page.locator("#runs a").first.click()
    assert "/runs/run" in visit.page.url


def test_the_ranking_shows_the_probability_of_improvement_over_runs(small: Any, visit: Any) -> None:
    (ranking,) = overall_ranking(small.boards)
    visit.open(small.index)
    assert "P(better) (95 %)" in visit.page.locator(".ranking thead").inner_text()
    row = visit.page.locator(".ranking tbody tr").first.inner_text()
    assert f"{ranking.rows['improvement'].iloc[0]:.2f} (" in row
