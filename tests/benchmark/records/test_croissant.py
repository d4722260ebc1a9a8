"""The Croissant description beside published tables."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stampbench.benchmark.errors import UserError
from stampbench.benchmark.records.croissant import describe_tables
from stampbench.benchmark.records.tables import TABLES

PUBLISHED = Path(__file__).parents[3] / "leaderboards"
Command = Callable[..., tuple[int, str, str]]


def test_published_tables_are_described_with_checksums_and_columns() -> None:
    text = (PUBLISHED / "croissant.json").read_text()
    assert text == describe_tables(PUBLISHED, TABLES), "publish again, or write what describe_tables returns"
    described = json.loads(text)
    assert described["license"]
    assert [each["contentUrl"] for each in described["distribution"]] == [f"{name}.csv" for name in TABLES]
    for file, records in zip(described["distribution"], described["recordSet"], strict=True):
        path = PUBLISHED / file["contentUrl"]
        assert hashlib.sha256(path.read_bytes()).hexdigest() == file["sha256"]
        table = pd.read_csv(path, low_memory=False, nrows=2000)
        assert [field["source"]["extract"]["column"] for field in records["field"]] == list(table.columns)
        types = {field["name"]: field["dataType"] for field in records["field"]}
        for column in table.dropna(axis=1, how="all").select_dtypes("number"):
            assert types[column] in ("sc:Integer", "sc:Float", "sc:Text"), column  # ids of runs may look like numbers
    runs = {field["name"]: field["dataType"] for field in described["recordSet"][0]["field"]}
    assert (runs["test_dice"], runs["parameters"], runs["synthetic"]) == ("sc:Float", "sc:Integer", "sc:Boolean")


def test_publish_writes_it_and_keeps_what_a_user_changed(recorded_runs: Any, stampbench: Command) -> None:
    words = ("publish", "--runs", recorded_runs.runs, "--output", "tables")
    assert stampbench(*words)[0] == 0
    path = Path("tables/croissant.json")
    described = json.loads(path.read_text())
    assert described["url"].startswith("https://")
    path.write_text(json.dumps(described | {"name": "mine", "license": "CC-BY-4.0", "distribution": []}))
    assert stampbench(*words)[0] == 0
    again = json.loads(path.read_text())
    assert (again["name"], again["license"], again["distribution"]) == ("mine", "CC-BY-4.0", described["distribution"])
    path.write_text("{")
    code, _, err = stampbench(*words)
    assert (code, err.count("\n"), "delete it, and it is written again" in err) == (2, 1, True)


def test_a_damaged_description_is_one_line(tmp_path: Path) -> None:
    for name in TABLES:
        (tmp_path / f"{name}.csv").write_text("run\n")
    (tmp_path / "croissant.json").write_text("[]")
    assert json.loads(describe_tables(tmp_path, TABLES))["name"] == "stampbench-results"
    (tmp_path / "croissant.json").write_text("nothing")
    with pytest.raises(UserError, match="damaged"):
        describe_tables(tmp_path, TABLES)
