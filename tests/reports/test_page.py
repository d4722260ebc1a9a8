"""The page in a real browser, from disk and without network."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stampbench.reports.leaderboard import leaderboards
from stampbench.reports.overall import overall_ranking
from stampbench.reports.page import RunDetails, write_page

sync_api = pytest.importorskip("playwright.sync_api")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here (Debian: apt install chromium)")


class Visit:
    """A page of the browser, and what it complained about."""

    def __init__(self, page: Any) -> None:
        self.page, self.complaints = page, list[str]()
        page.on(
            "console", lambda message: message.type in ("error", "warning") and self.complaints.append(message.text)
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: request.url.startswith("http") and self.complaints.append(request.url))

    def open(self, path: Path) -> None:
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("section.board:not([hidden]) .plot .main-svg")

    def column(self, number: int) -> list[str]:
        """The texts of a column of the leaderboard that is shown."""
        cells = f"section.board:not([hidden]) table.leaderboard tbody td:nth-child({number})"
        return [text.strip() for text in self.page.locator(cells).all_inner_texts()]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Any) -> Iterator[Visit]:
    context = browser.new_context(viewport={"width": 1200, "height": 900}, offline=True)
    visited = Visit(context.new_page())
    yield visited
    context.close()
    assert visited.complaints == []


def records(strategies: int, runs: int, tables: int) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Runs of strategies on tables, five test cases each, with trajectories as long as the paper's are."""
    rng = np.random.default_rng(0)
    rows, cases, trajectories = [], [], []
    for number in range(runs):
        table, strategy = number % tables, f"s{number // tables % strategies:02d} <b>"
        run = f"run{number:05d}"
        rows.append(
            {
                "run": run, "group": f"g{table}", "dataset": f"set{table}", "dataset_version": "1", "form": "64×64",
                "data_checksum": "0123456789", "synthetic": False, "unit": "mm", "protocol": "paper",
                "equivalence_margin": 0.01,
                "strategy": strategy if number // tables % strategies else "standard", "n_train": 25,
                "name": "stamp" if number // tables % strategies else "standard",
                "training_set": 0, "fold": number // tables // strategies, "seed": 0,
                "parameters": int(rng.integers(1_000, 900_000)),
                "flops": 1_000_000, "epochs": 1736, "ranking_passes": 347, "test_dice": 0.8, "test_hd95": 2.0,
            }
        )  # fmt: skip
        scores = rng.uniform(0.6, 0.9, 5)
        cases += [
            {"run": run, "case": f"c{n}", "subject": f"c{n}", "class": "x", "dice": score, "hd95": 2.0, "msd": 1.0,
             "empty": ""} for n, score in enumerate(scores)
        ]  # fmt: skip
        steps = np.arange(348)
        trajectories.append(
            pd.DataFrame({"run": run, "step": steps, "epoch": 5 * steps + 1, "parameters": 353_954 - 1_000 * steps,
                          "validation_dice": rng.uniform(0.5, 0.9, 348), "widths": " ".join(["64"] * 18)})
        )  # fmt: skip
    return pd.DataFrame(rows), pd.DataFrame(cases), pd.concat(trajectories, ignore_index=True)


def details(runs: pd.DataFrame, picture: bytes) -> Iterator[RunDetails]:
    """As much text as a real run has."""
    provenance = dict.fromkeys(("packages", "hyperparameters", "protocol", "machine"), "0123456789abcdef " * 8)
    for row in runs.to_dict("records"):
        worst = [(f"case_{n}", 0.5, 3.0) for n in range(3)]
        facts = {f"fact {n}": "0.1234" for n in range(13)}
        command = "stampbench run --strategy s --set a=1 " * 3
        yield RunDetails(str(row["run"]), f"{row['strategy']} fold 0", facts, command, provenance, worst, picture)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    runs, cases, trajectories = records(strategies=4, runs=16, tables=2)
    timings = pd.DataFrame(
        {"run": runs["run"], "backend": "eager", "ratio": range(10, 26), "batch": 1, "precision": "fp32",
         "noisy_ratio": False, "measured": "one", "device": "cpu", "processor": "p", "driver": "",
         "threads": 2, "torch": "2"}
    )  # fmt: skip
    timings = timings[runs["strategy"] != "s03 <b>"]
    boards = leaderboards(runs, cases, timings)
    assert write_page(folder, boards, overall_ranking(boards), runs, trajectories, details(runs, b"")) > 1e6
    return folder


def test_it_sorts_filters_and_changes_tables(small: Path, visit: Visit) -> None:
    visit.open(small / "index.html")
    names = visit.column(2)
    assert len(names) == 4
    assert visit.column(1) == ["1"] * 4, "one run per strategy decides nothing"
    heading = visit.page.locator("section.board:not([hidden]) table.leaderboard th", has_text="parameters").first
    heading.click()
    sync_api.expect(heading).to_have_attribute("aria-sort", "ascending")
    place = 1 + visit.page.locator("section.board:not([hidden]) table.leaderboard th").all_inner_texts().index(
        "parameters"
    )
    parameters = [int(text.replace(",", "")) for text in visit.column(place)]
    assert parameters == sorted(parameters)
    heading.get_by_role("button").focus()
    visit.page.keyboard.press("Enter")  # what a mouse can do, a keyboard can
    sync_api.expect(heading).to_have_attribute("aria-sort", "descending")
    visit.page.get_by_label("Filter strategies").first.fill("s02")
    assert visit.column(2) == ["s02 <b>"], "names are shown as they are, markup and all"
    visit.page.get_by_label("Table", exact=True).select_option("1")
    assert "set1" in visit.page.locator("section.board:not([hidden]) h2").inner_text()
    assert len(visit.column(2)) == 4


def test_what_is_missing_comes_last_however_a_table_is_sorted(small: Path, visit: Visit) -> None:
    visit.open(small / "index.html")
    heading = visit.page.locator("section.board:not([hidden]) table.leaderboard th", has_text="latency").first
    place = 1 + visit.page.locator("section.board:not([hidden]) table.leaderboard th").all_inner_texts().index(
        "latency"
    )
    for direction, reverse in (("ascending", False), ("descending", True)):
        heading.click()
        sync_api.expect(heading).to_have_attribute("aria-sort", direction)
        *latencies, last = visit.column(place)
        assert last == "–"
        assert len(latencies) == 3
        assert latencies == sorted(latencies, key=float, reverse=reverse)


@pytest.mark.parametrize("plot", ["parameters", "latency_ratio"])
def test_hovering_a_point_shows_its_strategy_and_row(plot: str, small: Path, visit: Visit) -> None:
    visit.open(small / "index.html")
    where = f'section.board:not([hidden]) .plot[data-x="{plot}"]'
    visit.page.wait_for_selector(f"{where} .point")
    point = visit.page.locator(f"{where} .scatterlayer .point").nth(1)
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    visit.page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    visit.page.wait_for_selector(f"{where} .hoverlayer text")
    told = visit.page.locator(f"{where} .hoverlayer").text_content()
    marked = visit.page.locator("tr.pointed")
    assert marked.count() == 1
    assert marked.get_attribute("data-strategy") in told
    visit.page.mouse.move(1, 1)
    assert visit.page.locator("tr.pointed").count() == 0


def test_a_run_has_its_page(small: Path, visit: Visit) -> None:
    visit.open(small / "index.html")
    link = visit.page.locator("section.board:not([hidden]) table.runs a").first
    run = link.inner_text()
    link.click()
    visit.page.wait_for_selector('[data-plot="trajectory"] .main-svg')
    assert f"runs/{run}.html" in visit.page.url
    text = visit.page.locator("main").inner_text()
    for part in ("Reproduce this run", "stampbench run --strategy s", "Provenance", "case_0", "fact 12"):
        assert part in text
    assert visit.page.locator('[data-plot="widths"] .bars .point').count() == 36
    visit.page.get_by_role("link", name="All leaderboards").click()
    assert visit.page.url.endswith("index.html")


def test_it_is_accessible_and_fits_a_phone(small: Path, visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 375, "height": 700})
    visit.open(small / "index.html")
    page = visit.page
    wide = page.evaluate("document.documentElement.scrollWidth")
    assert wide <= 375, "only tables scroll sideways, in their own frames"
    assert page.evaluate("document.documentElement.lang") == "en"
    assert page.evaluate("[...document.querySelectorAll('input, select')].every((each) => each.labels.length > 0)")
    assert page.evaluate("[...document.querySelectorAll('.plot, img')].every((e) => e.ariaLabel || e.alt)")
    assert page.evaluate("[...document.querySelectorAll('thead th')].every((each) => each.scope === 'col')")
    assert page.evaluate("document.querySelectorAll('h1').length") == 1
    for colour, background in ((".note", "body"), ("table a", "body"), ("td", "body")):
        assert contrast(page, colour, background) >= 4.5, colour


def contrast(page: Any, selector: str, background: str) -> float:
    """WCAG 2.1's contrast ratio of an element's text on a background."""

    def luminance(where: str, name: str) -> float:
        text = page.evaluate(f"getComputedStyle(document.querySelector({where!r})).{name}")
        channels = [int(each) / 255 for each in text[text.index("(") + 1 : -1].split(",")[:3]]
        linear = [each / 12.92 if each <= 0.04045 else ((each + 0.055) / 1.055) ** 2.4 for each in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    lighter, darker = sorted((luminance(selector, "color"), luminance(background, "backgroundColor")), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def test_two_thousand_runs_open_at_once_and_stay_small(tmp_path: Path, visit: Visit) -> None:
    runs, cases, trajectories = records(strategies=10, runs=2000, tables=40)
    picture = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 90, (80, 240, 3), np.uint8)
    Image.fromarray(noise).save(picture, "WEBP", quality=40)  # noise takes more than any image
    boards = leaderboards(runs, cases)
    written = write_page(
        tmp_path, boards, overall_ranking(boards), runs, trajectories, details(runs, picture.getvalue()[:2500])
    )
    assert written == sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert written < 20e6
    assert len(list((tmp_path / "runs").glob("*.html"))) == 2000
    taken = []
    for _ in range(3):  # the machine may be busy; the page has to be able to
        visit.open(tmp_path / "index.html")
        taken.append(visit.page.evaluate("performance.now()"))
    assert min(taken) < 2000


def test_a_changed_library_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    from stampbench.reports import page

    with pytest.raises(ValueError, match="itables is not built as expected"):
        page._classic("const a = 1;")
    assert "window.jQuery=b;" in page._classic("const b=1;export{a as ITable,b as jQuery};")
