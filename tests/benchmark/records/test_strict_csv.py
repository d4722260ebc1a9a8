"""Strict reading of CSV tables."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stampbench.benchmark.records.csv_tables import RunTables
from stampbench.benchmark.records.strict_csv import TableSchema
from stampbench.benchmark.records.table_schemas import CASES, PUBLISHED_CASES, PUBLISHED_TRAJECTORIES, RUNS, TRAJECTORY

HEADER = "case,subject,class,dice,hausdorff,hd95,msd,nsd,volume_error,empty,predicted_voxels,reference_voxels"
ROW = "a,s,organ,0.5,3.0,2.0,1.0,0.75,-4.0,,10,12"


def change(**cells: str) -> bytes:
    """Return a table with one row, in which some cells are changed."""
    row = dict(zip(HEADER.split(","), ROW.split(","), strict=True)) | cells
    return f"{HEADER}\n{','.join(row.values())}\n".encode()


def test_values_are_read_as_they_are_written() -> None:
    table = CASES.parse(change(case='"a,b ""c"""', dice="1e-3"))
    assert {name: list(values) for name, values in table.items()} == {
        "case": ['a,b "c"'], "subject": ["s"], "class": ["organ"], "dice": [0.001], "hausdorff": [3.0], "hd95": [2.0],
        "msd": [1.0], "nsd": [0.75], "volume_error": [-4.0], "empty": [""], "predicted_voxels": [10],
        "reference_voxels": [12],
    }  # fmt: skip
    assert isinstance(table["predicted_voxels"], np.ndarray)
    assert table["predicted_voxels"].dtype == np.int64


REFUSED = [
    *((change(dice=each), "row 1: dice=") for each in ("inf", "-0.5", "1.5", "nan", "", "text", "1" * 400, "0x1")),
    *((change(hd95=each), "row 1: hd95=") for each in ("-3", "inf", "1e12", "")),
    (change(msd="-1"), "row 1: msd='-1' is not a number within 0 to 1e"),
    (change(predicted_voxels="1.5"), "is not a whole number"),
    (change(predicted_voxels="9" * 30), "predicted_voxels="),
    (change(empty="none"), "is not one of '', 'both', 'reference', 'prediction'"),
    (change()[:-1] + b"\n\n", "row 2 has 0 of 12 cells"),
    (change()[:-1] + b",9\n", "row 1 has 13 of 12 cells"),
    (change(case="\xff").decode("latin1").encode("latin1").replace(b"\xc3\xbf", b"\xff"), "is not a table"),
    (change(case="a\rb"), "carriage returns"),
    (change(case="a\0b"), "null characters"),
    (change(case='"a'), "is not a table"),
    (change(case="x" * (2 << 20)), "is not a table"),
    (change().replace(b"nsd,", b"dice,"), "the column 'dice' is there twice"),
    (change().replace(b"nsd,", b"score,"), "unknown column 'score'"),
    (change().replace(b"reference_voxels", b"average_hausdorff_set"), "missing column 'reference_voxels'"),
]


@pytest.mark.parametrize(("content", "problem"), REFUSED)
def test_anything_else_is_refused_with_row_and_column(content: bytes, problem: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)) as raised:
        CASES.parse(content)
    assert len(str(raised.value)) < 200
    # Of many tables, the others are read.
    tables, problems = RunTables(CASES), []
    tables.add("0" * 12, tmp_path / "good.csv", change())
    try:
        tables.add("1" * 12, tmp_path / "bad.csv", content)
    except ValueError as error:
        problems.append(str(error))
    tables.add("2" * 12, tmp_path / "good.csv", change(case="b"))
    assert list(tables.frame(problems)["run"]) == ["0" * 12, "2" * 12]
    assert len(problems) == 1
    assert problem in problems[0]


@settings(deadline=None, max_examples=30)
@given(
    st.lists(
        st.tuples(
            st.text(st.characters(exclude_characters="\r\0", exclude_categories=["Cs"]), min_size=1), st.floats(0, 1)
        ),
        min_size=1,
    )
)
def test_tables_parsed_together_equal_tables_parsed_alone(rows: list[tuple[str, float]]) -> None:
    text = pd.DataFrame(
        [
            {**dict(zip(HEADER.split(","), ROW.split(","), strict=True)), "case": case, "dice": dice}
            for case, dice in rows
        ]
    )
    content = text.to_csv(index=False).encode()
    tables = RunTables(CASES)
    tables.add("0" * 12, Path("a"), content)
    problems: list[str] = []
    together, alone = tables.frame(problems), pd.DataFrame(CASES.parse(content))
    assert problems == []
    assert list(together["case"]) == list(alone["case"]) == [case for case, _ in rows]
    assert list(together["dice"]) == list(alone["dice"]) == [dice for _, dice in rows]


CELLS = ["", "3", "1.5", "0.1", "1", "-3", "nan", " nan", "inf", "1e400", "1_0", " 0.5", "0.3000000000000000444", "1.0",
         "007", "0x1", "true", "NA", "9007199254740993", "1e3", "+1", ".5", "\u0661", "1 "]  # fmt: skip


@settings(deadline=None, max_examples=200)
@example("predicted_voxels", ["", "1.5"])
@example("nsd", ["", "nan", "0.5"])
@given(
    st.sampled_from(["case", "dice", "nsd", "msd", "predicted_voxels"]),
    st.lists(st.sampled_from(CELLS[:4]) | st.sampled_from(CELLS), min_size=1, max_size=3),
)
def test_the_fast_way_gives_the_same_table_or_the_same_error(column: str, cells: list[str]) -> None:
    usual = {"text": "", "integer": "1", "number": "0.5"}
    row = {name: usual[each.kind] for name, each in PUBLISHED_CASES.columns.items()} | {"run": "0123456789ab"}
    lines = [",".join(row), *(",".join((row | {column: cell}).values()) for cell in cells), ""]
    content = "\n".join(lines).encode()
    try:
        expected = pd.DataFrame(PUBLISHED_CASES.parse(content))
    except ValueError as error:
        with pytest.raises(ValueError, match=re.escape(str(error))):
            PUBLISHED_CASES.table(content)
    else:
        pd.testing.assert_frame_equal(PUBLISHED_CASES.table(content), expected, check_exact=True)


def test_published_tables_of_this_repository_are_read() -> None:
    folder = Path(__file__).parents[3] / "leaderboards"
    for name, schema in (("runs", RUNS), ("cases", PUBLISHED_CASES), ("trajectories", PUBLISHED_TRAJECTORIES)):
        content = (folder / f"{name}.csv").read_bytes()
        table = pd.DataFrame(schema.parse(content))
        assert len(table) == content.count(b"\n") - 1
        pd.testing.assert_frame_equal(schema.table(content), table, check_exact=True)
    assert TRAJECTORY.columns["widths"].pattern is not None


@pytest.mark.parametrize("schema", [CASES, TRAJECTORY, RUNS, PUBLISHED_CASES])
def test_tables_without_rows_have_empty_columns(schema: TableSchema) -> None:
    table = schema.parse(",".join(schema.columns).encode() + b"\n")
    assert list(table) == list(schema.columns)
    assert all(len(values) == 0 for values in table.values())
