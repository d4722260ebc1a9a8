"""A browser that opens pages from disk, without network, and the pages that it opens."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pytest

from stampbench.reports.leaderboard import Board, leaderboards
from stampbench.reports.overall import overall_ranking
from stampbench.reports.page import About, write_page
from stampbench.reports.run_data import CaseRow, RunDetails

LABELS = ("standard", "stamp <b>", "stamp <b> (f=8)", "flat")
DESCRIPTIONS = {"standard": "a U-Net", "stamp <b>": "prunes & trains", "flat": "constant width"}
ABOUT = About(
    "2026-11-27", "1.2.3", "0123456789abcdef", "The authors: a title", DESCRIPTIONS, {"set1": "cells & nuclei"}
)


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
        axe = pytest.importorskip("axe_playwright_python.sync_playwright")
        found = axe.Axe().run(self.page, options={"preload": False}).response["violations"]
        return [f"{each['id']}: {node['html'][:120]}" for each in found for node in each["nodes"]]


class Site(NamedTuple):
    """A page on disk, and the leaderboards that it shows."""

    index: Path
    boards: list[Board]


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        pytest.skip("no chromium here (Debian: apt install chromium)")
    with sync_api.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
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
                "epochs": 1736, "ranking_passes": 347, "test_dice": 0.8, "test_hd95": 2.0, "validation_dice": 0.8,
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


@pytest.fixture(scope="session")
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


@pytest.fixture
def make_site() -> Any:
    """Return the functions that make records and details of runs, and the footer."""
    return records, details, ABOUT
