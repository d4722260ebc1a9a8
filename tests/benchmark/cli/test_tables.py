"""Options of tables: --format, --columns and --sort, and tables that fit a terminal."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stampbench.benchmark.cli.common import read_chosen
from stampbench.benchmark.cli.options import RecordFilter
from stampbench.benchmark.cli.tables import print_grid

Command = Callable[..., tuple[int, str, str]]
ABOUT = {"table", "dataset", "version", "data", "form", "n_train", "protocol", "unit", "synthetic", "group"}
"""First columns of CSV files, which say which table a row is of."""


@pytest.fixture(
    params=["leaderboard", "leaderboard --by-class", "leaderboard --answers", "compare", "list", "suite show",
            "datasets list", "datasets show", "latency"]
)  # fmt: skip
def words(request: pytest.FixtureRequest, recorded_runs: Any) -> list[str]:
    """Every command that prints tables, with what it needs."""
    runs = ["--runs", str(recorded_runs.runs)]
    labels = [recorded_runs.label("standard"), recorded_runs.label("stamp_plus")]
    timed = ["--strategy", "flat", "--dataset", "phantom2d", "--seconds", "0.1", "--backend", "eager", *runs]
    needed = {"compare": [*labels, *runs], "list": ["strategies"], "suite show": ["low_data"], "datasets list": [],
              "datasets show": ["harp"], "latency": timed}  # fmt: skip
    return [*str(request.param).split(), *needed.get(request.param, runs)]


def test_every_table_has_the_same_options(words: list[str], stampbench: Command) -> None:
    code, out, err = stampbench(*words, "--format", "csv")
    assert code == 0, err
    table = pd.read_csv(io.StringIO(out))
    names = (set(table) - ABOUT) if words[0] != "latency" else {table.columns[-1]}  # timing takes a while
    for name in names:
        code, out, err = stampbench(*words, "--format", "csv", "--columns", name, "--sort", f"-{name}")
        assert code == 0, (name, err)
        assert set(out.splitlines()[0].split(",")) - ABOUT == {name}
        assert len(pd.read_csv(io.StringIO(out), skip_blank_lines=False)) == len(table)
    code, out, err = stampbench(*words, "--format", "md", "--columns", ",".join(names), "--sort", f"-{min(names)}")
    assert (code, out.strip() == "") == (0, False), err
    code, out, _ = stampbench(*words, "--format", "csv", "--sort", next(name for name in table if name not in ABOUT))
    assert list(pd.read_csv(io.StringIO(out))) == list(table), "sorting alone changes no columns"
    code, out, _ = stampbench(*words, "--format", "json")
    assert code == 0
    assert json.loads(out)
    code, out, _ = stampbench(*words, "--format", "latex")
    assert code == 0
    for tabular in out.split(r"\toprule")[1:]:
        assert tabular.split(r"\\")[0].count(" & ") < 7, "a page of a paper holds seven columns"
    assert r"\toprule" in out
    assert r"\caption{" in out
    code, out, _ = stampbench(*words, "--format", "short")
    assert code == 0
    assert out.strip()
    code, _, err = stampbench(*words, "--columns", "nonsense")
    assert code == 2
    assert "unknown column 'nonsense'" in err
    code, _, err = stampbench(*words, "--sort", "-")
    assert code == 2
    assert "error: --sort '-' names no column\n" in err
    code, _, err = stampbench(*words, "--columns", "strategy,dice,strategy", "--format", "json")
    assert code == 2
    assert "error: --columns 'strategy,dice,strategy': 'strategy' is named twice\n" in err


def test_markdown_is_another_name_of_md(recorded_runs: Any, stampbench: Command) -> None:
    first, second = (
        stampbench("leaderboard", "--runs", recorded_runs.runs, "--format", each) for each in ("md", "markdown")
    )
    assert first == second


def test_rows_of_a_leaderboard_are_sorted_and_columns_chosen(recorded_runs: Any, stampbench: Command) -> None:
    code, out, _ = stampbench(
        "leaderboard", "--runs", recorded_runs.runs, "--columns", "strategy,parameters", "--sort", "parameters",
        "--format", "csv",
    )  # fmt: skip
    table = pd.read_csv(io.StringIO(out))
    assert code == 0
    assert table["parameters"].is_monotonic_increasing
    assert list(table)[-2:] == ["strategy", "parameters"]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_a_table_fits_the_terminal(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    rows = [
        [f"stamp_plus (f=8, filters_per_step={n})", "0.858 ±.012", "31.3 k", "a long description " * 8] for n in (1, 2)
    ]
    print_grid([("strategy", True), ("Dice", False), ("parameters", False), ("description", True)], rows, title="T")
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= width
    assert "0.858 ±.012" in out
    assert "31.3 k" in out


@pytest.mark.parametrize("width", [70, 90])
def test_texts_are_wrapped_before_a_column_disappears(
    width: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    rows = [["standard, stamp_plus", "cardiac, spleen, prostate", "25, 50, 100, 250, all", "0", "all", "0", "paper"]]
    heads = ("strategies", "datasets", "n train", "training sets", "folds", "seeds", "protocol")
    print_grid([(head, True) for head in heads], rows)
    out = capsys.readouterr().out
    assert max(map(len, out.splitlines())) <= width
    assert all(word in out for word in ("paper", "protocol", "prostate", "stamp_plus", "seeds"))


def test_strategies_have_the_labels_of_the_user(recorded_runs: Any, stampbench: Command) -> None:
    """Names contain `=`, and so may labels; all options behind use the label, and `standard` stays the reference."""
    standard, pruned = recorded_runs.label("standard"), recorded_runs.label("stamp_plus")
    words = ["--label", f"{standard}=U-Net, f=2", "--label", f"{pruned}=pruned", "--runs", recorded_runs.runs]
    code, out, err = stampbench("leaderboard", *words, "--format", "csv")
    assert (code, err) == (0, "")
    _, recorded, _ = stampbench("leaderboard", "--format", "csv", "--runs", recorded_runs.runs)
    tables = [pd.read_csv(io.StringIO(text)).set_index("strategy") for text in (out, recorded)]
    pd.testing.assert_frame_equal(
        tables[0].sort_index(), tables[1].rename({standard: "U-Net, f=2", pruned: "pruned"}).sort_index()
    )
    assert tables[0]["difference"].notna().any()
    code, out, err = stampbench("compare", "pruned", "U-Net, f=2", *words, "--cases", "0")
    assert (code, err) == (0, "")
    assert "### pruned − U-Net, f=2, test Dice\n" in out
    code, out, _ = stampbench("leaderboard", "--strategy", "pruned", *words, "--format", "csv")
    assert (code, list(pd.read_csv(io.StringIO(out))["strategy"])) == (0, ["pruned"])


def test_strategies_of_different_leaderboards_may_have_one_label() -> None:
    published, together = Path(__file__).parents[3] / "leaderboards", ("flat", "random_largest (recovery_epochs=10)")
    chosen = RecordFilter(labels=tuple(f"{each}=x" for each in together))
    before, runs = (read_chosen(published, each, trajectories=False).runs for each in (RecordFilter(), chosen))
    assert set(runs.loc[runs["strategy"] == "x", "run"]) == set(before.loc[before["strategy"].isin(together), "run"])


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        (["stampplus=pruned"], "unknown strategy of --label 'stampplus'; did you mean '{pruned}'? known: "),
        (["pruned"], "--label 'pruned': allowed is NAME=LABEL"),
        (["{pruned}="], "--label '{pruned}=': the label is empty; allowed is NAME=LABEL"),
        (["{pruned}={standard}"], "--label: several strategies of a leaderboard would be called '{standard}'"),
        (["{pruned}=x", "{standard}=x"], "--label: several strategies of a leaderboard would be called 'x'"),
    ],
)
def test_labels_that_are_not_possible_are_refused(
    labels: list[str], message: str, recorded_runs: Any, stampbench: Command
) -> None:
    names = {"standard": recorded_runs.label("standard"), "pruned": recorded_runs.label("stamp_plus")}
    words = [word for each in labels for word in ("--label", each.format(**names))]
    code, out, err = stampbench("leaderboard", *words, "--runs", recorded_runs.runs)
    assert (code, out) == (2, "")
    assert message.format(**names) in err
    assert len(err.splitlines()) == 1
