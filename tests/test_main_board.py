"""The main board: what its page and the front page say are numbers of its runs, and the plan was followed."""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import pytest

from stampbench.benchmark.config.suite_file import load_suite
from stampbench.benchmark.records.tables import Records, read_records
from stampbench.reports.comparison import compare, corrected
from stampbench.reports.decision import readers_to_decide

Timings = Callable[..., dict[tuple[str, str, str], dict[str, str]]]
PUBLISHED = Path(__file__).parent.parent / "leaderboards"
TABLES = (("dsb2018", 25), ("dsb2018", 100), ("hippocampus", 25), ("acdc", 100))
ARMS = {
    "STAMP": "stamp", "STAMP+": "stamp_plus",
    "random pruning of the largest layer": r"random_largest \(learning_rate=0.01\)",
    "PruneFinetune": "prune_finetune.*", "flat, f = 8": r"flat \(f=8, learning_rate=0.01\)", "`swift`": "swift",
    "Half-UNet": r"standard \(network=half_unet .*\)", "nnU-Net's network": r"standard \(network=nnunet_reference .*\)",
}  # fmt: skip
"""Rows of the front page's table, and the names of these strategies in the records."""
CELL = re.compile(
    r"(?:\*\*standard is (better|worse)\*\*|(equivalent|undecided)): ([+−]\.\d{4}) \(([+−]\.\d{4}) to ([+−]\.\d{4})\)"
    r"(?:; about (\d+) sets)?"
)
SHAPE = "1×128×128"
"""Shape of the image that the networks of main_board.md were timed on."""


def test_learning_rates_of_the_main_board_are_those_that_the_planned_rule_chooses() -> None:
    """The protocol's .005 stays unless another rate has a mean validation Dice that is higher by at least .005."""
    dice: dict[str, dict[float, list[float]]] = defaultdict(lambda: defaultdict(list))
    for run in csv.DictReader((PUBLISHED / "learning_rates" / "runs.csv").open()):
        network = re.findall(r"network=(\w+)", run["strategy"])
        rate = json.loads(run["hyperparameters"])["learning_rate"]
        dice[" ".join([run["name"], *network])][rate].append(float(run["validation_dice"]))
    chosen = {}
    for arm, by_rate in dice.items():
        assert {len(each) for each in by_rate.values()} == {1 if "half_unet" in arm else 2}
        means = {rate: sum(each) / len(each) for rate, each in by_rate.items()}
        best = max(means, key=lambda rate: means[rate])
        chosen[arm] = best if means[best] >= means[0.005] + 0.005 else 0.005
    planned = {}
    for block in load_suite("main_board").suite.blocks():
        for strategy, network in itertools.product(block.strategies, block.networks):
            arm = f"{strategy.name} {network.name}".removesuffix(" unet")
            planned[arm] = strategy.set.get("learning_rate", 0.005)
    del planned["prune_finetune"]  # its learning rates have not been run yet
    assert planned == chosen


def test_latency_on_the_main_board_is_that_of_the_published_timings(published_timings: Timings) -> None:
    fp32, int8 = (published_timings(PUBLISHED / "main_board", precision) for precision in ("fp32", "int8"))
    rows = [*fp32.values(), *int8.values()]
    assert all(float(row["ratio_high"]) - float(row["ratio_low"]) <= 0.055 for row in rows if float(row["ratio"]) < 2)
    text, checked = (PUBLISHED / "main_board.md").read_text(), 0
    for line in text[text.index("### How long") : text.index("## Learning rates")].splitlines():
        if not line.startswith("| `"):
            continue
        _, name, parameters, *cells, _ = (each.strip(" `") for each in line.split("|"))
        quantised = f"{name[:-1]}, int8)" if name.endswith(")") else f"{name} (int8)"
        timed = [fp32.get((name, backend, SHAPE)) for backend in ("eager", "fast", "onnxruntime", "openvino")]
        for row, cell in zip([*timed, int8.get((quantised, "openvino", SHAPE))], cells, strict=True):
            assert cell.lstrip("0") == ("–" if row is None else f"{float(row['ratio']):.2f}".lstrip("0"))
            if row is not None:
                assert f"{int(row['parameters']):,}" == parameters
                checked += 1
    assert checked == len(rows) == 33


@pytest.fixture(scope="module")
def records() -> Records:
    return read_records(PUBLISHED / "main_board", [], trajectories=False)


def test_all_rows_of_a_table_have_the_same_training_sets_and_seeds(records: Records) -> None:
    for _, runs in records.runs.groupby("group"):
        trained = runs[runs["name"] != "quantised"]
        draws = trained.groupby("strategy")[["training_set", "fold", "seed"]].apply(
            lambda own: sorted(own.to_numpy().tolist())
        )
        assert all(each == draws.iloc[0] for each in draws), draws
        assert trained["training_set"].nunique() == 10


def test_differences_on_the_front_page_are_those_of_the_runs(records: Records) -> None:
    """Holm's method corrects for the rows of a column, and a cell is empty where there are no runs."""
    text, compared = (PUBLISHED / "README.md").read_text(), 0
    rows = {line.split("|")[1].strip(): line.split("|")[2:-1] for line in text.splitlines() if line.startswith("| ")}
    for column, (dataset, n_train) in enumerate(TABLES):
        runs = records.runs[records.runs["dataset"].eq(dataset) & records.runs["n_train"].eq(n_train)]
        others = {arm: runs[runs["strategy"].str.fullmatch(name)] for arm, name in ARMS.items()}
        found = {
            arm: compare(runs[runs["strategy"] == "standard"], own, records.cases)[0]
            for arm, own in others.items() if len(own)
        }  # fmt: skip
        assert found or runs.empty
        decisions = dict(zip(found, corrected(list(found.values())), strict=True))
        for arm in ARMS:
            cell = rows[arm][column].strip()
            if arm not in found:
                assert cell == "–", (arm, dataset)
                continue
            wanted = found[arm].difference
            numbers = [
                f"{each:+.4f}".replace("-", "−").replace("0.", ".", 1) for each in (wanted.mean, *wanted.interval())
            ]
            needed = (
                readers_to_decide(wanted, found[arm].margin, len(found)) if decisions[arm][1] == "undecided" else None
            )
            described = CELL.fullmatch(cell)
            assert described is not None, cell
            assert (described[1] or described[2]) == decisions[arm][1]
            assert [described[3], described[4], described[5]] == numbers
            assert described[6] == (str(needed) if needed else None)
            compared += 1
    assert compared >= 7
