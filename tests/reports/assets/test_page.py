"""The page as a whole, in a real browser: accessibility, width, and size with many runs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from stampbench.reports.leaderboard import leaderboards
from stampbench.reports.page import write_page

SCREENS = [(size, scheme) for size in ((1440, 900), (1024, 768), (390, 844)) for scheme in ("light", "dark")]


@pytest.mark.parametrize("visit", SCREENS, indirect=True, ids=str)
def test_axe_finds_no_violation_and_the_page_fits(small: Any, visit: Any) -> None:
    page = visit.page
    visit.open(small.index, '#selected=["standard","flat"]&open=["stamp <b>"]')
    page.get_by_text("Columns", exact=True).click()
    assert page.locator("#pair svg").count() == 1
    assert visit.violations() == []
    width = page.viewport_size["width"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width, "only tables scroll sideways"
    dark = page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 24, 29)"
    assert dark == page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
    first = page.locator("#leaderboard tbody th").first
    page.evaluate("document.querySelector('#leaderboard').parentElement.scrollLeft = 500")
    assert first.bounding_box()["x"] >= 0, "the first column stays"
    columns = page.evaluate("getComputedStyle(document.querySelector('#limits')).gridTemplateColumns").split()
    assert sum(each != "0px" for each in columns) == {1440: 4, 1024: 2, 390: 1}[width], (
        "no limit stands alone in its line"
    )
    if width < 500:
        assert visit.headings()[:3] == ["strategy", "Dice", "parameters"]
    visit.open(small.index.parent / "runs" / "run00003.html")
    assert visit.violations() == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_footer_says_what_made_the_page(small: Any, visit: Any) -> None:
    visit.open(small.index)
    text = visit.page.locator("footer").inner_text()
    for part in ("2026-11-27", "1.2.3", "0123456789ab", "set0 01234567", "The authors: a title"):
        assert part in text


def test_two_thousand_runs_open_at_once_and_stay_small(make_site: Any, tmp_path: Path, visit: Any) -> None:
    labels = ["standard", *(f"s{number:02d} <b>" for number in range(9))]
    records, details, about = make_site
    runs, cases, trajectories = records(labels, 2000, 40, 30)
    picture = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 90, (80, 240, 3), np.uint8)
    Image.fromarray(noise).save(picture, "WEBP", quality=40)  # noise takes more than any image
    boards = leaderboards(runs, cases)
    written = write_page(
        tmp_path, boards, [], runs, trajectories, details(runs, picture.getvalue()[:2500], 30), about
    )  # fmt: skip
    assert written == sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert written < 20e6
    assert len(list((tmp_path / "runs").glob("*.html"))) == 2000
    taken = []
    for _ in range(3):  # the machine may be busy; the page has to be able to
        visit.open(tmp_path / "index.html")
        taken.append(visit.page.evaluate("performance.now()"))
    assert min(taken) < 3000
