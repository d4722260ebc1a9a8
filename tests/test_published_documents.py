"""The published leaderboard: length, and numbers that no command prints in place."""

from __future__ import annotations

import csv
import re
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
def test_numbers_of_answers_are_printed_on_the_page_that_they_link_to(document: str) -> None:
    """A row of the answer tables has the same decision, difference and interval as a row of the linked page."""
    path, checked = ROOT / document, 0
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
    assert checked >= 2


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
