"""The published leaderboard: length, and numbers that no command prints in place."""

from __future__ import annotations

import csv
import re
import shutil
from collections import defaultdict
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PUBLISHED = ROOT / "leaderboards"
LINK = re.compile(r"\]\(([^)\s]+)\)")
BLOCK = re.compile(r"^<!-- stampbench (?!figure )[^\n]*-->\n(.*?)^<!-- end -->", re.DOTALL | re.MULTILINE)
SIGNED = re.compile(r"[−+-]\d\.\d{4}")
STRATEGIES = {"STAMP+": "stamp_plus", "STAMP": "stamp", "flat (f = 8)": "flat (f=8)"}
"""Names of strategies in tables of documents, where they are not those of `runs.csv`."""


def test_front_page_of_the_leaderboard_is_short() -> None:
    text = BLOCK.sub("", (PUBLISHED / "README.md").read_text())
    written = [line for line in text.splitlines() if not line.startswith(("|", "<!--"))]
    assert len(" ".join(written).split()) <= 1500


@pytest.mark.parametrize("document", ["README.md", "leaderboards/README.md"])
def test_the_first_table_is_that_of_needs_and_a_forest_plot_follows(document: str) -> None:
    text = (ROOT / document).read_text()
    begin = text.index("<!-- stampbench leaderboard --answers --runs leaderboards -->\n\n| If you need …")
    assert "|" not in text[:begin]
    assert len(text[:begin].splitlines()) < 25, "it is on the first screen"
    rest = text[begin:].split("<!-- end -->")[1]
    assert "| " not in rest[: rest.index("(leaderboards/forest" if document == "README.md" else "(forest")]


def test_numbers_of_answers_are_printed_on_the_page_that_they_link_to() -> None:
    """A row of the table of questions has the same decision, difference and interval as a row of the linked page."""
    path, checked = PUBLISHED / "README.md", 0
    for line in BLOCK.sub("", path.read_text()).splitlines():
        numbers = [each.replace("−", "-") for each in SIGNED.findall(line)] if line.startswith("|") else []
        if not numbers:
            continue
        (link,) = LINK.findall(line)
        difference, low, high = numbers
        rows = "\n".join(BLOCK.findall((path.parent / link).read_text())).splitlines()
        decision = "equivalent" if "equivalent" in line else "undecided"
        wanted = rf"\| {re.escape(difference)} .*\| {re.escape(low)} to {re.escape(high)} .*\| {decision} "
        assert any(re.search(wanted, row) for row in rows), line
        checked += 1
    assert checked >= 8


GITHUB = (
    "<meta charset='utf-8'><style>body{font:16px/1.5 'Noto Sans',Helvetica,Arial,sans-serif}"
    "table{border-collapse:collapse}th,td{border:1px solid;padding:6px 13px;white-space:nowrap}</style><table>"
)
"""Fonts and margins of tables as GitHub shows them."""


def test_the_board_of_the_readme_fits_the_width_that_github_has_for_it(tmp_path: Path) -> None:
    api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no chromium here (Debian: apt install chromium)")
    (_, block) = BLOCK.findall((ROOT / "README.md").read_text())
    rows = [line.strip("|").split("|") for line in block.splitlines() if line.startswith("|")]
    cells = ["".join(f"<td>{cell.strip()}</td>" for cell in row) for row in rows if not set("".join(row)) <= set("-:")]
    assert len(cells) == 9
    page = tmp_path / "table.html"
    page.write_text(GITHUB + "".join(f"<tr>{row}</tr>" for row in cells))
    with api.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        shown = browser.new_page()
        shown.goto(page.as_uri())
        width = shown.locator("table").bounding_box()["width"]
        browser.close()
    assert width <= 846


def test_dice_by_epochs_is_that_of_the_published_runs() -> None:
    """Every cell of the tables by epochs is the mean of the runs that the page names."""
    dice = defaultdict(list)
    with (PUBLISHED / "runs.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            pairs = [("0", "0")] if row["dataset"] == "dsb2018" else [("0", "0"), ("1", "1")]
            if row["protocol"].startswith("cpu") and (row["fold"], row["seed"]) in pairs:
                key = (row["dataset"], row["n_train"], row["protocol"], row["strategy"])
                dice[key].append(float(row["test_dice"]))
    text = (PUBLISHED / "epochs.md").read_text()
    tables = re.findall(r"^\| strategy (.+?)\n\n", text, re.DOTALL | re.MULTILINE)
    for (dataset, size), table in zip((("dsb2018", "25"), ("acdc", "100")), tables, strict=True):
        for line in table.splitlines()[2:]:
            name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
            for recovery, epochs, cell in zip((5, 10, 20), (76, 151, 301), cells, strict=False):
                strategy = STRATEGIES.get(name, name)
                if recovery > 5 and strategy not in ("standard", "flat (f=8)"):
                    strategy = f"{strategy} (recovery_epochs={recovery})"
                protocol = "cpu" if epochs == 76 else f"cpu (max_epochs={epochs})"
                found = dice[dataset, size, protocol, strategy]
                assert len(found) == (1 if dataset == "dsb2018" else 2), (line, strategy, epochs)
                assert abs(sum(found) / len(found) - float(cell.split()[0])) <= 0.00051, (line, epochs)
