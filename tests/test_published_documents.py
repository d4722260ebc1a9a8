"""The published leaderboard: length, and numbers that no command prints in place."""

from __future__ import annotations

import csv
import re
import shutil
from collections import defaultdict
from pathlib import Path
from statistics import median

import pytest

from stampbench.benchmark.records.tables import read_records
from stampbench.reports.figures.trajectory_latency import relative_latency

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
    begin = text.index("<!-- stampbench leaderboard --answers --runs leaderboards/main_board -->\n\n| If you need …")
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
        link = LINK.findall(line)[-1]
        difference, low, high = numbers
        rows = "\n".join(BLOCK.findall((path.parent / link.partition("#")[0]).read_text())).splitlines()
        (decision,) = re.findall(r"^\W*(equivalent|undecided|better|worse)\b", line.split("|")[2])
        wanted = rf"\| {re.escape(difference)} .*\| {re.escape(low)} to {re.escape(high)} .*\| {decision} "
        if decision == "undecided":
            (needed,) = re.findall(r"; about (\d+) would decide", line)
            wanted += rf"\s*\| {needed} "
        assert any(re.search(wanted, row) for row in rows), line
        checked += 1
    assert checked >= 8


SHAPES = {"dsb2018": "1×256×256", "hippocampus": "1×48×64×48", "acdc": "1×128×128"}
"""Shapes of the images that the networks of swift.md were timed on."""


def timings(folder: Path) -> dict[tuple[str, str, str], dict[str, str]]:
    """Return published timings in fp32 by strategy, backend and shape; later rows replace earlier ones."""
    rows = (row for row in csv.DictReader((folder / "timings.csv").open()) if row["precision"] == "fp32")
    return {(row["network"].rpartition(" ")[0], row["backend"], row["shape"]): row for row in rows}


def test_each_part_of_swift_has_the_numbers_of_its_runs() -> None:
    """The table of parts has the mean validation Dice and the latency ratios of the published ablation."""
    folder = PUBLISHED / "swift_ablation"
    dice: dict[tuple[str, str], list[float]] = defaultdict(list)
    for run in csv.DictReader((folder / "runs.csv").open()):
        dice[run["strategy"], run["dataset"]].append(float(run["validation_dice"]))
    timed = timings(folder)
    assert {len(each) for each in dice.values()} == {4}
    means = {name: sum(map(sum, (dice[name, d] for d in ("dsb2018", "hippocampus")))) / 8 for name, _ in dice}
    text, checked = (PUBLISHED / "swift.md").read_text(), 0
    for name, part, reference in (
        ("swift", "f = 16", ""),
        ("swift (f=8)", "f = 8 instead", ""),
        ("swift (stride=1)", "no space-to-depth", "swift"),
        ("swift (refine=8)", "refinement", "swift"),
        ("swift (weight=0.5)", "teacher", "swift"),
        ("swift (average=0.9)", "averaged weights", "swift"),
    ):
        (line,) = (each for each in text.splitlines() if each.startswith(f"| {part}"))
        _, _, shown, latency, _, _ = line.split("|")
        (value,) = re.findall(r"^[+-]?\.\d{3}", shown.strip().replace("−", "-"))
        assert float(value) == pytest.approx(means[name] - means.get(reference, 0), abs=0.00051)
        if found := re.findall(r"\d?\.\d\d", latency):
            cells = [
                (name, backend, SHAPES[d]) for backend in ("eager", "onnxruntime") for d in ("dsb2018", "hippocampus")
            ]
            wanted = [float(timed[cell]["ratio"]) for cell in cells]
            assert [float(each) for each in found] == pytest.approx(wanted, abs=0.0051)
            checked += 1
    assert checked == 4


def test_goals_of_swift_are_met_or_missed_by_the_numbers_of_its_runs() -> None:
    """The table of goals has the median ratios of the published runs and their latency ratios."""
    folder = PUBLISHED / "swift_comparison"
    timed = timings(folder)
    runs: dict[tuple[str, str], dict[tuple[str, str], dict[str, str]]] = defaultdict(dict)
    for run in csv.DictReader((folder / "runs.csv").open()):
        runs[run["dataset"], run["strategy"]][run["training_set"], run["seed"]] = run
    columns = {"parameters": "parameters", "FLOPs": "flops", "training time": "training_seconds"}
    backends = {"eager": "eager", "fast": "fast", "ONNX Runtime": "onnxruntime", "OpenVINO": "openvino"}
    checked = 0
    for line in (PUBLISHED / "swift.md").read_text().splitlines():
        name = line.split("|")[1].strip().removeprefix("latency, ") if line.startswith("| ") else ""
        if name not in columns and name not in backends:
            continue
        _, _, goal, *cells, _ = line.split("|")
        for dataset, cell in zip(SHAPES, cells, strict=True):
            if name in columns:
                swift, standard = runs[dataset, "swift"], runs[dataset, "standard"]
                assert len(swift.keys() & standard.keys()) == 10
                value = median(float(swift[key][columns[name]]) / float(standard[key][columns[name]]) for key in swift)
            else:
                value = float(timed["swift", backends[name], SHAPES[dataset]]["ratio"])
            (shown,) = re.findall(r"\d?\.\d\d", cell)
            assert float(shown) == pytest.approx(value, abs=0.0051), (name, dataset)
            limits = [float(each) for each in re.findall(r"\.\d\d", goal)]
            limit = limits[-1] if dataset == "hippocampus" else limits[0]
            assert ("**missed**" in cell) == (value > limit), (name, dataset)
            checked += 1
    assert checked == 21


def test_latency_along_pruning_is_that_of_the_published_timings() -> None:
    """The table has the parameters and the relative latency of checkpoints, per dataset and backend."""
    records = read_records(PUBLISHED / "latency_trajectories", [])
    timed = relative_latency(records.timings).merge(records.runs[["run", "dataset", "strategy"]], on="run")
    text, checked = (PUBLISHED / "latency.md").read_text(), 0
    for line in text[text.index("## Along pruning") : text.index("## On a GPU")].splitlines():
        if not line.startswith("| `"):
            continue
        strategy, prunes = re.findall(r"`(.+)`(?:, after (\d+) prunes)?", line)[0]
        cells = iter(line.split("|")[2:-1])
        for dataset in ("dsb2018", "hippocampus"):
            chosen = timed["strategy"].eq(strategy) & timed["step"].eq(int(prunes or 0)) & timed["dataset"].eq(dataset)
            rows = timed[chosen]
            assert next(cells).strip() == f"{rows['parameters'].iloc[0]:,}"
            for backend in ("eager", "onnxruntime", "openvino"):
                (value,) = rows["relative"][rows["label"].str.contains(backend)]
                assert float(next(cells)) == pytest.approx(value, abs=0.0051), (line, backend)
                checked += 1
    assert checked == 48


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
    assert len(cells) == 10
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
