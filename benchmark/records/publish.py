"""Records as tables that can be put under version control, and the boards made from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from stampbench.benchmark.config.rerun_command import command
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.records.run_store import RECORD, read_record, write_text
from stampbench.benchmark.records.tables import Records, folder_of, merge, read_records, write_tables
from stampbench.reports.leaderboard import leaderboards
from stampbench.reports.mean_rank import overall_ranking
from stampbench.reports.table_formats import to_markdown

BOARDS = "boards.md"


def publish(store: Path, folder: Path, problems: list[str]) -> Records:
    """Add a store's finished runs to the tables in a folder, and render the boards again.

    Raises:
        UserError: there is no store or no finished run in it, or the tables in the folder cannot be read.
    """
    records = read_records(store, problems)
    if records.runs.empty:
        raise UserError(f"no finished runs at {store}")
    told = pd.DataFrame([_provenance(store, row) for row in records.runs.to_dict("records")])
    records = records._replace(runs=pd.concat([records.runs.reset_index(drop=True), told], axis=1))
    if (folder / "runs.csv").is_file():
        records = merge(read_records(folder, problems), records)
    write_tables(records, folder)
    # From the files again, so that what is rendered is what anyone can render.
    records = read_records(folder, problems)
    write_text(folder / BOARDS, render(records))
    return records


def render(records: Records) -> str:
    """All boards as markdown."""
    boards = leaderboards(records.runs, records.cases, records.timings)
    return to_markdown(boards, overall_ranking(boards))


def _provenance(store: Path, row: dict[Any, Any]) -> dict[str, Any]:
    record = read_record(folder_of(store, row) / RECORD)
    if record is None:
        raise UserError(f"{store} holds no records; what is published is a store that 'stampbench run' wrote")
    environment, provenance = record["environment"], record["provenance"]
    return {
        "command": command(record),
        "git_commit": provenance["git_commit"],
        "git_dirty": provenance["git_dirty"],
        "torch": provenance["packages"]["torch"],
        "processor": environment["processor"],
        "device": environment["device"],
        "threads": environment["threads"],
    }
