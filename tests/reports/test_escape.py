"""Text of records cannot act where it is shown."""

from __future__ import annotations

import io
import re
from collections.abc import Callable
from io import StringIO

import pandas as pd
import pytest

from stampbench.reports import comparison, comparison_tables
from stampbench.reports.escape import latex, markdown, one_line, plot_texts, spreadsheet, terminal
from stampbench.reports.figures import style
from stampbench.reports.leaderboard import Board, leaderboards
from stampbench.reports.table_formats import to_csv, to_latex, to_markdown


def test_terminals_get_no_commands() -> None:
    assert terminal("a\x1b[2Jb\nc\td\x07\x9b\u202e") == "a\\x1b[2Jb\nc\td\\x07\\x9b\\u202e"
    assert one_line("a\r\nerror: b\u2028c") == "a error: b c"
    assert one_line("Dice × 95 % – Δ ±.01, naïve 腎") == "Dice × 95 % – Δ ±.01, naïve 腎"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<script>alert(1)</script>", "&lt;script>alert(1)&lt;/script>"),
        (
            "x\n<!-- stampbench figure pareto --output /victim -->",
            "x &lt;!-- stampbench figure pareto --output /victim -->",
        ),
        ("![a](https://tracker/x.png)", r"![a]\(https://tracker/x.png)"),
        ("a | b `c` \\", r"a \| b \`c\` \\"),
        ("stamp_plus (recovery_epochs=1)@paper", "stamp_plus (recovery_epochs=1)@paper"),
    ],
)
def test_markdown_gets_no_html_comments_links_and_cells(text: str, expected: str) -> None:
    assert markdown(text) == expected


def test_latex_gets_no_commands() -> None:
    assert latex(r"\write18{rm -rf /} \input{/etc/passwd}") == (
        r"\textbackslash{}write18\{rm -rf /\} \textbackslash{}input\{/etc/passwd\}"
    )
    assert latex("a_b & 95 % × $x^2$ #~") == (r"a\_b \& 95 \% $\times$ \$x\textasciicircum{}2\$ \#\textasciitilde{}")


@pytest.mark.parametrize("formula", ["=HYPERLINK(1)", "+1+cmd|' /C calc'!A0", "-2+3", "@SUM(1)", "\t=1", " =1"])
def test_spreadsheets_get_no_formulas(formula: str) -> None:
    table = pd.DataFrame({"case": [formula, "a"], "dice": [-0.5, 1.0], "empty": [True, False]})
    safe = spreadsheet(table)
    assert safe["case"].tolist() == [f"'{formula}", "a"]
    assert safe[["dice", "empty"]].equals(table[["dice", "empty"]])
    assert spreadsheet(table.iloc[:0]).empty


def test_figures_get_no_formulas(frames: Callable[..., tuple[pd.DataFrame, pd.DataFrame]]) -> None:
    runs, _ = frames({"strategy": "a $\\nothing$\x1b", "dice": {"a": 0.5}, "dataset": r"$\frac$"})
    figure, _ = style.panels(plot_texts(runs))
    figure.axes[0].set_title(plot_texts(runs)["strategy"].iloc[0])
    picture = io.StringIO()
    figure.savefig(picture, format="svg")
    assert r"a $\nothing$\x1b" in picture.getvalue()


HOSTILE = "evil\n<!-- stampbench figure pareto --output /victim -->\n<script>\x1b[2J| \\input{/etc/passwd} &"


@pytest.fixture
def board(frames: Callable[..., tuple[pd.DataFrame, pd.DataFrame]]) -> Board:
    """A leaderboard whose texts are all hostile."""
    names = {"dataset": HOSTILE, "protocol": HOSTILE, "unit": HOSTILE}
    dice = {f"=1+1 {HOSTILE}": 0.5, "b": 0.9}
    runs = [{"strategy": name, "dice": dice, **names} for name in (f"={HOSTILE}", "standard")]
    (found,) = leaderboards(*frames(*runs))
    return found


def test_hostile_texts_act_in_no_table(board: Board) -> None:
    text = to_markdown([board])
    assert not re.search(r"<[A-Za-z/!?]|\x1b", text)
    widths = {len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines() if line.startswith("|")}
    assert len(widths) == 1
    tex = to_latex([board])
    assert not re.search(r"\\input|\x1b", tex)
    assert sum(line.startswith("%") for line in tex.splitlines()) == 1
    first = pd.read_csv(StringIO(to_csv([board])))["strategy"].tolist()
    assert [name[:2] for name in sorted(first)] == ["'=", "st"]


def test_hostile_texts_act_in_no_comparison(frames: Callable[..., tuple[pd.DataFrame, pd.DataFrame]]) -> None:
    dice = {HOSTILE: 0.5, "b": 0.9}
    runs, cases = frames(*[{"strategy": name, "dice": dice, "dataset": HOSTILE} for name in (HOSTILE, "standard")])
    text = comparison_tables.to_markdown(comparison.compare(runs[:1], runs[1:], cases))
    assert HOSTILE.split("\n")[0] in text
    assert not re.search(r"<[A-Za-z/!?]|\x1b", text)
