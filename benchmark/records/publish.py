"""Publication of finished runs as tables under version control, and of the leaderboards made from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from stampbench.benchmark.environment.folder_lock import folder_lock
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.records.croissant import FILE as CROISSANT
from stampbench.benchmark.records.croissant import describe_tables
from stampbench.benchmark.records.record_file import RECORD, read_record
from stampbench.benchmark.records.run_store import RunStore
from stampbench.benchmark.records.tables import TABLES, Records, folder_of, merge, read_records, write_tables
from stampbench.datasets.atomic_file import write_text
from stampbench.reports.leaderboard import leaderboards
from stampbench.reports.overall import overall_ranking
from stampbench.reports.table_formats import to_markdown

BOARDS = "boards.md"


def publish(store: Path, folder: Path, problems: list[str]) -> Records:
    """Add a store's finished runs to the tables in a folder, and render the leaderboards again.

    Args:
        store: root of the store.
        folder: folder of the published tables; created if it does not exist.
        problems: receives a line for each damaged record, which is skipped.

    Raises:
        UserError: when the store has no finished run, or the tables cannot be read or written.
    """
    RunStore(store).check_exists()
    records = read_records(store, problems)
    if records.runs.empty:
        raise UserError(f"no finished runs at {store}")
    records = with_provenance(store, records)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with folder_lock(folder):
            return _merge_into(folder, records, problems)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}") from error


def _merge_into(folder: Path, records: Records, problems: list[str]) -> Records:
    if (folder / "runs.csv").is_file():
        records = merge(read_records(folder, problems), records)
    write_tables(records, folder)
    # Rendered from the written files, so that anyone can repeat it.
    records = read_records(folder, problems)
    write_text(folder / BOARDS, render(records))
    write_text(folder / CROISSANT, describe_tables(folder, TABLES))
    return records


def with_provenance(store: Path, records: Records) -> Records:
    """Return records of a store with the columns of `runs` that only published tables have: command, code, machine."""
    provenance = pd.DataFrame([_provenance(store, row) for row in records.runs.to_dict("records")])
    return records._replace(runs=pd.concat([records.runs.reset_index(drop=True), provenance], axis=1))


def render(records: Records) -> str:
    """Return all leaderboards as markdown."""
    boards = leaderboards(records.runs, records.cases, records.timings)
    return to_markdown(boards, overall_ranking(boards))


def _provenance(store: Path, row: dict[Any, Any]) -> dict[str, Any]:
    record = read_record(folder_of(store, row) / RECORD)
    environment, provenance = record.environment, record.provenance
    return {
        "command": record.command,
        "git_commit": provenance.git_commit,
        "git_dirty": provenance.git_dirty,
        "torch": provenance.packages.get("torch", ""),
        "processor": environment.processor,
        "device": environment.device,
        "threads": environment.threads,
    }
