"""Tables of the page: order, folding and keys."""

from __future__ import annotations

from typing import Any


def test_the_first_click_sorts_best_first_and_missing_values_stay_last(small: Any, visit: Any) -> None:
    visit.open(small.index)
    visit.page.get_by_role("button", name="1 more variant of stamp <b>").click()
    assert visit.sort("Dice") == "descending"
    assert visit.sort("parameters") == "ascending"
    assert visit.column("parameters")[0] == "1.00 k"
    for direction in ("ascending", "descending"):
        assert visit.sort("latency") == direction
        assert visit.column("latency")[-1] == "–"
    heading = visit.page.locator("#leaderboard thead").get_by_role("button", name="epochs")
    heading.focus()
    assert "Training epochs charged" in visit.page.get_by_role("tooltip").inner_text()
    visit.page.keyboard.press("Enter")  # what a mouse can do, a keyboard can
    assert heading.evaluate("each => each === document.activeElement"), "the focus stays"
    assert visit.page.locator("#leaderboard th[aria-sort]").inner_text().startswith("epochs")


def test_variants_fold_under_their_strategy(small: Any, visit: Any) -> None:
    visit.open(small.index)
    assert len(visit.column("strategy")) == 3
    fold = visit.page.get_by_role("button", name="1 more variant of stamp <b>")
    fold.click()
    names = [text.split("\n")[0] for text in visit.column("strategy")]
    assert names.index("stamp <b> (f=8)") == names.index("stamp <b>") + 1, "names are shown as they are, markup and all"
    assert fold.get_attribute("aria-expanded") == "true"


def test_arrow_keys_scroll_the_table_that_has_the_focus(small: Any, visit: Any) -> None:
    visit.page.set_viewport_size({"width": 390, "height": 700})
    visit.open(small.index)
    visit.page.get_by_role("region", name="Leaderboard, scrolls sideways").focus()
    visit.page.keyboard.press("ArrowRight")
    visit.page.wait_for_function("document.querySelector('#leaderboard').parentElement.scrollLeft > 0")
