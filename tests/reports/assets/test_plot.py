"""Plots of the page: points, fronts and the comparison of two."""

from __future__ import annotations

from typing import Any

import pytest


def test_points_and_rows_are_selected_together_and_two_are_compared(small: Any, visit: Any) -> None:
    visit.open(small.index)
    plot = visit.page.locator('.plot[data-x="parameters"]')
    plot.locator('.point[data-strategy="flat"]').hover()
    assert visit.page.locator("tr.pointed").get_attribute("data-strategy") == "flat"
    plot.locator('.point[data-strategy="flat"]').click()
    assert visit.page.get_by_label("Compare flat").is_checked()
    plot.locator('.point[data-strategy="standard"]').focus()
    visit.page.keyboard.press("Enter")
    assert plot.locator('.point[data-strategy="standard"]').get_attribute("aria-pressed") == "true"
    assert plot.locator('.point[data-strategy="standard"]').evaluate("each => each === document.activeElement")
    board = small.boards[1]
    row = board.rows.set_index("strategy").loc["flat"]
    sentence = visit.page.locator(".verdict").inner_text().replace("−", "-")
    assert f"{row['difference']:+.4f}" in sentence
    assert f"{row['difference_low']:+.4f} to {row['difference_high']:+.4f}" in sentence
    assert sentence.endswith(f"in 6 pairs of runs: {row['decision']}.")
    expected = (board.scores["flat"] - board.scores["standard"]).mean().sort_values(ascending=False)
    shown = [float(text.replace("−", "-")) for text in visit.page.locator("#pair td:last-child").all_inner_texts()]
    assert shown == pytest.approx(expected.to_list(), abs=0.0011)
    assert visit.page.locator("#pair rect").count() == 8


def test_fronts_are_steps_and_undecided_points_are_pale(small: Any, visit: Any) -> None:
    visit.open(small.index)
    plot = visit.page.locator('.plot[data-x="parameters"]')
    path = plot.locator(".front").get_attribute("d")
    assert set(path) - set("MHV,.0123456789") == set(), "only horizontal and vertical lines"
    rows = small.boards[1].rows.set_index("strategy")
    pale = {
        each.get_attribute("data-strategy")
        for each in plot.locator(".point:has(.pale)").all()
    }  # fmt: skip
    assert pale == set(rows.index[rows["decision"].isin(["undecided", "too few runs"])])
    assert {"1 k", "2 k", "5 k"} <= set(plot.locator(".tick").all_text_contents())
    name = plot.locator("text.name").first
    assert name.evaluate("each => getComputedStyle(each).paintOrder.startsWith('stroke')"), "lines do not strike it out"
    assert "95 % interval" in visit.page.locator("#plots .note").inner_text()
