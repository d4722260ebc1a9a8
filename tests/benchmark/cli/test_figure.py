"""The command `stampbench figure`."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stampbench.benchmark.cli import figure
from stampbench.benchmark.cli.common import read_chosen
from stampbench.benchmark.records.tables import Records
from stampbench.reports.figures import FIGURES

Command = Callable[..., tuple[int, str, str]]
NEED_MORE = ("latency_along_pruning", "latency_by_backend", "latency_vs_parameters", "stability")
"""Figures that need timings, or five runs of a strategy, which the recorded runs of the tests lack."""


@pytest.mark.parametrize("name", [*(each for each in FIGURES if each not in NEED_MORE), "losses", "segmentations"])
def test_every_figure_is_written_as_svg_and_png(
    name: str, recorded_runs: Any, stampbench: Command, tmp_path: Path
) -> None:
    words = []
    if name == "segmentations":
        words = ["--data-root", recorded_runs.data, "--strategy", recorded_runs.label("standard")]
    if name == "forest":
        words = [recorded_runs.label("standard"), recorded_runs.label("flat")]
    code, out, err = stampbench("figure", name.replace("_", "-"), "--runs", recorded_runs.runs, *words)
    assert code == 0, err
    assert out == f"wrote {name}.svg, {name}.png\n"
    assert (tmp_path / f"{name}.svg").stat().st_size > 5_000


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["latency-by-backend", "--backend"], "No such option"),
        (["pareto", "--strategy", "standard (f=2, depth=2)"], "did you mean 'standard (f=2, depth=1)'?"),
        (["pareto", "--dataset", "prostate"], "no finished runs of dataset 'prostate'"),
        (["pareto", "--output", "/dev/null/x.svg"], "cannot write"),
        (["pareto", "--output", ""], "name a file"),
        (["pareto", "--output", "x.jpg"], "--output 'x.jpg': allowed endings are .svg, .png, .pdf, or none"),
    ],
)
def test_invalid_requests_are_refused(
    words: list[object], message: str, recorded_runs: Any, stampbench: Command
) -> None:
    code, _, err = stampbench("figure", *words, "--runs", recorded_runs.runs)
    assert code == 2
    assert message in err


def test_segmentations_show_the_same_cases_for_every_strategy(
    recorded_runs: Any, stampbench: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The best case of one strategy is the worst of the other; titles are read from the picture."""
    labels = [recorded_runs.label(name) for name in ("standard", "stamp_plus")]

    def disagreeing(*words: Any, **options: Any) -> Records:
        records = read_chosen(*words, **options)
        names = records.cases["run"].map(records.runs.set_index("run")["strategy"])
        place = records.cases["case"].rank(method="dense") / 100
        return records._replace(
            cases=records.cases.assign(dice=(0.5 + place).where(names == labels[0], 0.5 - 3 * place))
        )

    monkeypatch.setattr(figure, "read_chosen", disagreeing)
    code, _, err = stampbench(
        "figure", "segmentations", "--runs", recorded_runs.runs, "--data-root", recorded_runs.data, "--output", "a.svg",
        *(word for label in labels for word in ("--strategy", label)),
    )  # fmt: skip
    assert code == 0, err
    picture = Path("a.svg").read_text()
    shown = re.findall(r">([^<>]+): (best|median|worst) of all<.*?>([^<>,]+), Dice ([\d.]+)<", picture, re.DOTALL)
    first, second = ([(rank, case) for name, rank, case, _ in shown if name == label] for label in labels)
    assert first == second
    assert [rank for rank, _ in first] == ["best", "median", "worst"]
    dice = {label: {rank: float(text) for name, rank, _, text in shown if name == label} for label in labels}
    assert dice[labels[0]]["best"] < dice[labels[0]]["worst"], "the ranks are those of all strategies"
    assert dice[labels[1]]["best"] > dice[labels[1]]["worst"]


def test_segmentations_need_the_data(recorded_runs: Any, stampbench: Command, tmp_path: Path) -> None:
    code, _, err = stampbench("figure", "segmentations", "--runs", recorded_runs.runs, "--data-root", tmp_path)
    assert (code, "not found" in err) == (2, True)
