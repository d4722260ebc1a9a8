"""The table of networks in docs/networks.md."""

from __future__ import annotations

from pathlib import Path

import pytest

from stampbench.benchmark.cli.list_names import describe
from stampbench.benchmark.measure.network_table import network_table
from stampbench.benchmark.records.documents import rendered
from stampbench.models.registry import NETWORKS

PATH = Path(__file__).parents[3] / "docs" / "networks.md"
ROWS = [line for line in PATH.read_text().splitlines() if line.startswith("| ")]


def test_every_network_has_a_row() -> None:
    assert [row.split("`")[1] for row in ROWS[2:]] == ["unet", *(n for n, each in NETWORKS.items() if not each.origin)]


@pytest.mark.parametrize("name", ["unet", "simple_unet"])
def test_rows_are_those_of_the_command(name: str) -> None:
    listed = {key: source for key, source in describe("networks").items() if key == name}
    header, rule, row = network_table(listed.items()).splitlines()
    assert [header, rule] == ROWS[:2]
    assert row in ROWS


def test_numbers_of_the_unet() -> None:
    """STAMP's U-Net with f = 4 has 353,954 parameters in 3D, and 17 layers with 364 filters."""
    cells = [each.strip() for each in ROWS[2].split("|")]
    assert (cells[4], cells[7], cells[8]) == ("353,954", "17", "364")


@pytest.mark.slow
def test_document_has_the_table_of_the_command() -> None:
    assert network_table(describe("networks").items()).splitlines() == ROWS


def test_render_runs_the_command_of_the_document() -> None:
    commands: list[list[str]] = []

    def run(words: list[str]) -> str:
        commands.append(words)
        return "the table"

    assert "the table" in rendered(PATH, run)
    assert commands == [["list", "networks", "--sizes"]]
