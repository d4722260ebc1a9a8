"""The main board: what its page and the front page say are numbers of its runs, and the plan was followed."""

from __future__ import annotations

import csv
import itertools
import json
import re
from collections import defaultdict
from pathlib import Path

import pytest

from stampbench.benchmark.config.suite_file import load_suite
from stampbench.benchmark.records.tables import Records, read_records
from stampbench.reports.comparison import compare, corrected
from stampbench.reports.decision import readers_to_decide
from stampbench.reports.multi_reader import MIN_READERS
from stampbench.reports.speed import speeds

PUBLISHED = Path(__file__).parent.parent / "leaderboards"
TABLES = (("dsb2018", 25), ("dsb2018", 100), ("hippocampus", 25), ("acdc", 100))
ARMS = {
    "STAMP": "stamp", "STAMP+": "stamp_plus",
    "random pruning of the largest layer": r"random_largest \(learning_rate=0.01\)",
    "PruneFinetune": "prune_finetune", "flat, f = 8": r"flat \(f=8, learning_rate=0.01\)", "`swift`": "swift",
    "Half-UNet": r"standard \(network=half_unet f=\d+\)",
    "nnU-Net's network": r"standard \(network=nnunet_reference f=\d+\)",
}  # fmt: skip
"""Rows of the front page's table, and the names of these strategies in the records."""
PRUNED = ("stamp", "stamp_plus", "random_largest (learning_rate=0.01)", "prune_finetune")
BACKENDS = ("eager", "fast", "onnxruntime", "openvino")
SHORT = {
    "random_largest": "random_largest (learning_rate=0.01)",
    "flat (f=8)": "flat (f=8, learning_rate=0.01)",
    "half_unet (f=48)": "standard (network=half_unet f=48)",
    "nnunet_reference (f=2)": "standard (network=nnunet_reference f=2)",
    "nnunet_reference (f=8)": "standard (network=nnunet_reference f=8)",
}
"""Names of strategies on main_board.md where they are shorter than in the records."""
CELL = re.compile(
    r"(?:\*\*standard is (better|worse)\*\*|(equivalent|undecided)): ([+−]\.\d{4}) \(([+−]\.\d{4}) to ([+−]\.\d{4})\)"
    r"(?:; about (\d+) sets)?"
)


@pytest.fixture(scope="module")
def records() -> Records:
    return read_records(PUBLISHED / "main_board", [], trajectories=False)


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
    assert planned == chosen


def test_latency_on_the_main_board_is_that_of_the_published_timings(records: Records) -> None:
    """Tables of main_board.md, per dataset: mean parameters and ratios; ± where five or more networks were timed."""
    text, checked = (PUBLISHED / "main_board.md").read_text(), 0
    text = text[text.index("## How long") : text.index("## Learning rates")]
    tables = re.findall(r"^\| network .*?\n\n", text, re.DOTALL | re.MULTILINE)
    ratios: dict[str, list[float]] = defaultdict(list)
    for dataset, table in zip(("dsb2018", "hippocampus"), tables, strict=True):
        runs = records.runs[records.runs["dataset"].eq(dataset) & records.runs["n_train"].eq(25)]
        timings = records.timings[records.timings["run"].isin(runs["run"])]
        strategy_of = runs.set_index("run")["strategy"]
        found = {backend: speeds(runs, timings, backend) for backend in BACKENDS}
        for line in table.strip().splitlines()[2:]:
            short, parameters, *cells = (each.strip(" `") for each in line.strip("|").split("|"))
            name = SHORT.get(short, short)
            timed = runs[runs["run"].isin(timings["run"]) & runs["strategy"].eq(name)]
            assert f"{timed['parameters'].mean():,.0f}" == parameters
            quantised = f"{name[:-1]}, int8)" if name.endswith(")") else f"{name} (int8)"
            for backend, strategy, cell in zip((*BACKENDS, "openvino"), (*[name] * 4, quantised), cells, strict=True):
                if strategy not in found[backend].ratios:
                    assert cell == "–"
                    continue
                ratio, (low, high) = found[backend].ratios[strategy], found[backend].intervals[strategy]
                networks = timings["run"][timings["backend"].eq(backend)].drop_duplicates().map(strategy_of)
                several = (networks == strategy).sum() >= MIN_READERS and strategy != "standard"
                wanted = f"{ratio:.2f} ±{(high - low) / 2:.2f}" if several else f"{ratio:.2f}"
                assert re.sub(r"\b0\.", ".", wanted) == cell, (dataset, name, backend)
                ratios[strategy] += [ratio]
                checked += 1
    assert checked == 82
    readme = (PUBLISHED.parent / "README.md").read_text()
    pruned = [each for name in PRUNED for each in ratios[name]]
    for words, found_ratios in (("or at random take", pruned), ("(leaderboards/swift.md) takes", ratios["swift"])):
        assert f"{words} {min(found_ratios):.2f} to {max(found_ratios):.2f}".replace(" 0.", " .") in readme
    nuclei, hippocampus = ratios["standard (int8)"]
    words = f"the standard U-Net takes {nuclei:.2f} on nuclei and {hippocampus:.2f} on the hippocampus"
    assert words.replace(" 0.", " .") in readme


def test_all_rows_of_a_table_have_the_same_training_sets_and_seeds(records: Records) -> None:
    for _, runs in records.runs.groupby("group"):
        trained = runs[runs["name"] != "quantised"]
        draws = trained.groupby("strategy")[["training_set", "fold", "seed"]].apply(
            lambda own: sorted(own.to_numpy().tolist())
        )
        assert all(each == draws.iloc[0] for each in draws), draws
        assert trained["training_set"].nunique() == 10
        quantised = runs[runs["name"] == "quantised"].groupby("strategy")[["training_set", "seed"]]
        first = [[training_set, seed] for training_set, _, seed in draws.iloc[0] if seed == 0]
        assert all(sorted(own.to_numpy().tolist()) == first for _, own in quantised)
        assert runs["n_train"].eq(100).all() or len(quantised) == len(draws)


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
