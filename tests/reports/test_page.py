"""The page in a real browser, from disk and without network."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from stampbench.reports.budget import Budget, answer
from stampbench.reports.leaderboard import Board, leaderboards
from stampbench.reports.overall import overall_ranking
from stampbench.reports.page import About, write_page
from stampbench.reports.run_data import CaseRow, RunDetails

sync_api = pytest.importorskip("playwright.sync_api")
axe = pytest.importorskip("axe_playwright_python.sync_playwright")
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here (Debian: apt install chromium)")
LABELS = ("standard", "stamp <b>", "stamp <b> (f=8)", "flat")
DESCRIPTIONS = {"standard": "a U-Net", "stamp <b>": "prunes & trains", "flat": "constant width"}
ABOUT = About("2026-11-27", "1.2.3", "0123456789abcdef", "The authors: a title", DESCRIPTIONS)


class Visit:
    """A page of the browser, and what it complained about."""

    def __init__(self, page: Any) -> None:
        self.page, self.complaints = page, list[str]()
        page.on(
            "console", lambda message: message.type in ("error", "warning") and self.complaints.append(message.text)
        )
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("request", lambda request: request.url.startswith("http") and self.complaints.append(request.url))

    def open(self, path: Path, state: str = "") -> None:
        self.page.goto("about:blank")
        self.page.goto(path.as_uri() + state)
        self.page.wait_for_selector(".plot svg")

    def column(self, heading: str, table: str = "leaderboard") -> list[str]:
        """The texts of a column of a table."""
        place = self.headings(table).index(heading) + 1
        cells = self.page.locator(f"#{table} tbody tr > :nth-child({place})").all_inner_texts()
        return [text.strip() for text in cells]

    def headings(self, table: str = "leaderboard") -> list[str]:
        """The headings of a table, in the order of the screen, without marks of the order of rows."""
        return [text.strip(" ▲▼") for text in self.page.locator(f"#{table} thead th").all_inner_texts()]

    def sort(self, heading: str, table: str = "leaderboard") -> str:
        """Click a heading and return the direction that the table has then."""
        named = self.page.locator(f"#{table} thead th", has=self.page.get_by_text(heading, exact=True))
        named.get_by_role("button").click()
        return str(named.get_attribute("aria-sort"))

    def violations(self) -> list[str]:
        """What axe finds."""
        found = axe.Axe().run(self.page, options={"preload": False}).response["violations"]
        return [f"{each['id']}: {node['html'][:120]}" for each in found for node in each["nodes"]]


class Site(NamedTuple):
    """A page on disk, and the leaderboards that it shows."""

    index: Path
    boards: list[Board]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    with sync_api.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def visit(browser: Any, request: pytest.FixtureRequest) -> Iterator[Visit]:
    (width, height), scheme = getattr(request, "param", ((1440, 900), "light"))
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, offline=True, accept_downloads=True
    )
    visited = Visit(context.new_page())
    yield visited
    context.close()
    assert visited.complaints == []


def records(labels: Sequence[str], runs: int, tables: int, subjects: int) -> tuple[pd.DataFrame, ...]:
    """Runs of strategies on tables, with trajectories as long as the paper's are."""
    rng = np.random.default_rng(0)
    rows, cases, trajectories = [], [], []
    for number in range(runs):
        table, strategy = number % tables, labels[number // tables % len(labels)]
        run = f"run{number:05d}"
        rows.append(
            {
                "run": run, "group": f"g{table}", "dataset": f"set{table}", "dataset_version": "1", "form": "64×64",
                "data_checksum": "0123456789", "synthetic": False, "unit": "mm", "protocol": "paper",
                "equivalence_margin": 0.01, "strategy": strategy, "n_train": 25, "name": strategy.split(" (")[0],
                "training_set": 0, "fold": number // tables // len(labels), "seed": 0,
                "parameters": 1000 * (1 + labels.index(strategy)) ** 3, "flops": 1_000_000,
                "epochs": 1736, "ranking_passes": 347, "test_dice": 0.8, "test_hd95": 2.0,
            }
        )  # fmt: skip
        scores = rng.uniform(0.6, 0.9, subjects) + 0.002 * labels.index(strategy)
        cases += [
            {"run": run, "case": f"c{n}", "subject": f"c{n}", "class": "x", "dice": score, "hd95": 2.0, "msd": 1.0,
             "empty": ""} for n, score in enumerate(scores)
        ]  # fmt: skip
        shrinks = strategy.startswith("stamp")
        steps = np.arange(348 if shrinks else 1)
        trajectories.append(
            pd.DataFrame({"run": run, "step": steps, "epoch": 5 * steps + 1, "parameters": 353_954 - 1_000 * steps,
                          "validation_dice": rng.uniform(0.5, 0.9, len(steps)), "widths": " ".join(["64"] * 18)})
        )  # fmt: skip
    return pd.DataFrame(rows), pd.DataFrame(cases), pd.concat(trajectories, ignore_index=True)


def details(runs: pd.DataFrame, picture: bytes | str, subjects: int) -> Iterator[RunDetails]:
    """As much text as a real run has."""
    provenance = dict.fromkeys(("packages", "hyperparameters", "protocol", "machine"), "0123456789abcdef " * 8)
    strategies = {label: [0.5, None, 0.7] for label in sorted(set(runs["strategy"]))}
    for row in runs.to_dict("records"):
        cases = [CaseRow(f"case_{n}", 0.5 + n / 100, 3.0, 0.6) for n in range(subjects)]
        facts = {f"fact {n}": "0.1234" for n in range(13)}
        command = "stampbench run --strategy s --set a=1 " * 3
        title = f"{row['strategy']} fold {row['fold']}"
        yield RunDetails(
            str(row["run"]), title, "validation and test differ", facts, command, provenance, cases, strategies, picture
        )


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Site:
    """Two leaderboards, of which the second one has more runs, and a ranking over both."""
    folder = tmp_path_factory.mktemp("page")
    runs, cases, trajectories = records(LABELS, 48, 2, 8)
    runs = runs[runs["fold"] < runs["group"].map({"g0": 5, "g1": 6}).mask(runs["strategy"] == LABELS[2], 3)]
    timed = runs[runs["strategy"] != "flat"]
    timings = pd.DataFrame(
        {"run": timed["run"], "backend": "eager", "ratio": [10 + LABELS.index(each) for each in timed["strategy"]],
         "batch": 1, "precision": "fp32", "noisy_ratio": False, "measured": "one", "device": "cpu", "processor": "p",
         "driver": "", "threads": 2, "torch": "2"}
    )  # fmt: skip
    boards = leaderboards(runs, cases[cases["run"].isin(runs["run"])], timings)
    pages = details(runs, "No pictures: weights are not published.", 8)
    write_page(folder, boards, overall_ranking(boards), runs, trajectories, pages, ABOUT)
    return Site(folder / "index.html", boards)


SCREENS = [(size, scheme) for size in ((1440, 900), (1024, 768), (390, 844)) for scheme in ("light", "dark")]


@pytest.mark.parametrize("visit", SCREENS, indirect=True, ids=str)
def test_axe_finds_no_violation_and_the_page_fits(small: Site, visit: Visit) -> None:
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
    if width < 500:
        assert visit.headings()[:3] == ["strategy", "Dice", "parameters"]
    visit.open(small.index.parent / "runs" / "run00003.html")
    assert visit.violations() == []
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_it_opens_on_the_leaderboard_with_most_decisions_and_seven_columns_fit(small: Site, visit: Visit) -> None:
    visit.open(small.index)
    assert "set1" in visit.page.locator("#title").inner_text()
    assert visit.headings() == ["strategy", "Dice", "Δ to standard", "parameters", "latency", "epochs", "runs"]
    assert visit.page.locator("#leaderboard").bounding_box()["width"] <= 1312
    frame = "document.querySelector('#leaderboard').parentElement"
    assert visit.page.evaluate(f"{frame}.scrollWidth <= {frame}.clientWidth")
    visit.page.get_by_role("combobox", name="Leaderboard").select_option("g0")
    assert "set0" in visit.page.locator("#title").inner_text()


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
def test_the_answer_is_that_of_the_command(fields: dict[str, str], budget: Budget, small: Site, visit: Visit) -> None:
    visit.open(small.index)
    for name, text in fields.items():
        visit.page.get_by_role("textbox", name=name, exact=True).fill(text)
    assert visit.page.locator("#answer").inner_text() == answer(small.boards[1], budget)
    shown = set(visit.column("strategy")) - {""}
    assert len(shown) <= len(budget_rows(small.boards[1], budget))


def budget_rows(board: Board, budget: Budget) -> pd.DataFrame:
    return board.rows[budget.fits(board.rows)]


def test_a_slider_sets_a_limit_that_the_row_itself_passes(small: Site, visit: Visit) -> None:
    visit.open(small.index)
    slider = visit.page.get_by_label("parameters, slider")
    slider.focus()
    visit.page.keyboard.press("Home")
    assert visit.page.get_by_role("textbox", name="parameters", exact=True).input_value() == "1 k"
    assert visit.column("parameters") == ["1.00 k"]
    visit.page.keyboard.press("End")
    assert visit.page.get_by_role("textbox", name="parameters", exact=True).input_value() == ""
    assert len(visit.column("parameters")) == 3


def test_the_first_click_sorts_best_first_and_missing_values_stay_last(small: Site, visit: Visit) -> None:
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


def test_variants_fold_under_their_strategy(small: Site, visit: Visit) -> None:
    visit.open(small.index)
    assert len(visit.column("strategy")) == 3
    fold = visit.page.get_by_role("button", name="1 more variant of stamp <b>")
    fold.click()
    names = [text.split("\n")[0] for text in visit.column("strategy")]
    assert names.index("stamp <b> (f=8)") == names.index("stamp <b>") + 1, "names are shown as they are, markup and all"
    assert fold.get_attribute("aria-expanded") == "true"


def test_columns_are_chosen_and_the_address_keeps_the_view(small: Site, visit: Visit) -> None:
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


def test_points_and_rows_are_selected_together_and_two_are_compared(small: Site, visit: Visit) -> None:
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


def test_fronts_are_steps_and_undecided_points_are_pale(small: Site, visit: Visit) -> None:
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
    assert "95 % interval" in visit.page.locator("#plots .note").inner_text()


def test_csv_and_json_are_downloaded(small: Site, visit: Visit) -> None:
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


def test_a_strategy_links_to_its_description_and_its_runs(small: Site, visit: Visit) -> None:
    visit.open(small.index)
    visit.page.locator("#leaderboard").get_by_role("button", name="stamp <b>", exact=True).click()
    assert visit.page.evaluate("document.activeElement.nextElementSibling.textContent") == "prunes & trains"
    visit.page.get_by_role("button", name="6 runs of flat").click()
    assert visit.column("strategy", "runs") == ["flat"] * 6
    visit.page.locator("#runs a").first.click()
    assert "/runs/run" in visit.page.url


def test_arrow_keys_scroll_the_table_that_has_the_focus(small: Site, visit: Visit) -> None:
    visit.page.set_viewport_size({"width": 390, "height": 700})
    visit.open(small.index)
    visit.page.get_by_role("region", name="Leaderboard, scrolls sideways").focus()
    visit.page.keyboard.press("ArrowRight")
    visit.page.wait_for_function("document.querySelector('#leaderboard').parentElement.scrollLeft > 0")


def test_a_run_has_its_page(small: Site, visit: Visit) -> None:
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


def test_the_ranking_shows_the_probability_of_improvement_over_runs(small: Site, visit: Visit) -> None:
    (ranking,) = overall_ranking(small.boards)
    visit.open(small.index)
    assert "P(better) (95 %)" in visit.page.locator(".ranking thead").inner_text()
    row = visit.page.locator(".ranking tbody tr").first.inner_text()
    assert f"{ranking.rows['improvement'].iloc[0]:.2f} (" in row


def test_the_footer_says_what_made_the_page(small: Site, visit: Visit) -> None:
    visit.open(small.index)
    text = visit.page.locator("footer").inner_text()
    for part in ("2026-11-27", "1.2.3", "0123456789ab", "set0 01234567", "The authors: a title"):
        assert part in text


def test_two_thousand_runs_open_at_once_and_stay_small(tmp_path: Path, visit: Visit) -> None:
    labels = ["standard", *(f"s{number:02d} <b>" for number in range(9))]
    runs, cases, trajectories = records(labels, 2000, 40, 30)
    picture = io.BytesIO()
    noise = np.random.default_rng(0).integers(0, 90, (80, 240, 3), np.uint8)
    Image.fromarray(noise).save(picture, "WEBP", quality=40)  # noise takes more than any image
    boards = leaderboards(runs, cases)
    written = write_page(
        tmp_path, boards, [], runs, trajectories, details(runs, picture.getvalue()[:2500], 30), ABOUT
    )  # fmt: skip
    assert written == sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert written < 20e6
    assert len(list((tmp_path / "runs").glob("*.html"))) == 2000
    taken = []
    for _ in range(3):  # the machine may be busy; the page has to be able to
        visit.open(tmp_path / "index.html")
        taken.append(visit.page.evaluate("performance.now()"))
    assert min(taken) < 3000
