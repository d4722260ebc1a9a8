"""Options of tables: --format, --columns and --sort, and tables that fit a terminal."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

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
