"""Tables with chosen columns and order, in all formats."""

from __future__ import annotations

import json
from io import StringIO

import pandas as pd
import pytest

from stampbench.reports.listing import FORMATS, Listing, UnknownColumnError

VALUES = pd.DataFrame({"name": ["a_1", "b", "c"], "dice": [0.5, None, 0.7], "size": [30, 20, 10]})
TABLE = Listing(
    title="A table",
    values=VALUES,
    texts=pd.DataFrame({"name": VALUES["name"], "dice": ["-0.500", "–", "0.700"], "size": ["30", "20", "10"]}),
    titles={"name": "name", "dice": "Dice ±", "size": "size"},
    left=("name",),
    notes=("100 % of it.",),
    short=("name", "dice"),
    caption="A caption, Δ.",
)


def test_columns_are_taken_in_the_order_of_the_user_and_missing_values_are_last() -> None:
    assert list(TABLE.arranged().texts) == ["name", "dice", "size"]
    assert list(TABLE.arranged(short=True).texts) == ["name", "dice"]
    assert list(TABLE.arranged(["size", "name"], short=True).texts) == ["size", "name"]
    assert TABLE.arranged(["name"], "size").texts["name"].tolist() == ["c", "b", "a_1"]
    assert TABLE.arranged(["name"], "dice").values["name"].tolist() == ["a_1", "c", "b"]
    assert TABLE.arranged(["name"], "-dice").texts["name"].tolist() == ["c", "a_1", "b"]
    with pytest.raises(UnknownColumnError, match="no column 'speed'; columns: name, dice, size"):
        TABLE.arranged(sort="-speed")


def test_all_formats_hold_the_table() -> None:
    assert FORMATS["md"]([TABLE]).splitlines()[2:5] == [
        "| name   |   Dice ± |   size |",
        "|--------|----------|--------|",
        "| a_1    |   -0.500 |     30 |",
    ]
    assert pd.read_csv(StringIO(FORMATS["csv"]([TABLE])))["size"].tolist() == [30, 20, 10]
    two = pd.read_csv(StringIO(FORMATS["csv"]([TABLE, TABLE._replace(title="Another")])))
    assert two["table"].tolist() == ["A table"] * 3 + ["Another"] * 3
    (found,) = json.loads(FORMATS["json"]([TABLE]))
    assert found["rows"][1] == {"name": "b", "dice": None, "size": 20}


def test_latex_is_a_booktabs_table_with_a_caption() -> None:
    lines = FORMATS["latex"]([TABLE]).splitlines()
    assert lines == [
        "% 100 % of it.",
        r"\begin{table}",
        r"\centering\small",
        r"\caption{A caption, $\Delta$.}",
        r"\begin{tabular}{lrr}",
        r"\toprule",
        r"name & Dice $\pm$ & size \\",
        r"\midrule",
        r"a\_1 & $-$0.500 & 30 \\",
        r"b & – & 20 \\",
        r"c & 0.700 & 10 \\",
        r"\bottomrule",
        r"\end{tabular}",
        r"\end{table}",
    ]
