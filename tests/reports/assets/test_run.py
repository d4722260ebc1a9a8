"""The page of a run."""

from __future__ import annotations

from typing import Any


def test_a_run_has_its_page(small: Any, visit: Any) -> None:
    runs = small.index.parent / "runs"
    visit.open(runs / "run00003.html")  # the first run of stamp on the second leaderboard
    page = visit.page
    text = page.locator("main").inner_text()
    for part in ("Reproduce this run", "stampbench run --strategy s", "Provenance", "case_0", "fact 12", "Trajectory",
                 "No pictures: weights are not published.", "validation and test differ"):  # fmt: skip
        assert part in text
    assert page.locator("#trajectory .dot").count() >= 40
    assert page.locator("#widths .bar").count() == 36
    assert visit.column("case", "cases")[0] == "case_0"
    assert visit.sort("Dice", "cases") == "descending"
    assert visit.column("case", "cases") == [f"case_{number}" for number in reversed(range(8))]
    page.get_by_role("link", name="Next run").click()
    page.get_by_role("link", name="Previous run").click()
    assert page.url.endswith("run00003.html")
    page.get_by_role("link", name="All leaderboards").click()
    page.wait_for_selector("#leaderboard tbody tr")
    assert "set1" in page.locator("#title").inner_text()
    visit.open(runs / "run00001.html")  # standard, whose network keeps its shape
    assert page.get_by_role("heading", name="Shape").count() == 1
    assert "Trajectory" not in page.locator("main").inner_text()
    assert page.locator("#widths .bar").count() == 18
