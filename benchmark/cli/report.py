"""`stampbench report`: a web page of leaderboards and runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stampbench.benchmark.cli.common import discover_plugins, read_chosen
from stampbench.benchmark.cli.options import DATA_ROOT, FOLDER, MAX_VOXELS, RUNS, RecordFilter, filter_options
from stampbench.benchmark.errors import UserError

if TYPE_CHECKING:
    from stampbench.reports.page import About


@click.command()
@RUNS
@filter_options(strategies=False)
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Folder of the page")
@click.option("--pictures/--no-pictures", default=True, show_default=True, help="Draw each run's worst test cases")
@FOLDER
@DATA_ROOT
@MAX_VOXELS
def report(
    runs_folder: Path, chosen: RecordFilter, output: Path, pictures: bool, folder: str | None, data_root: Path | None
) -> None:
    """Write a web page of leaderboards and runs, which opens from disk and works without a network.

    \b
    Example:
      stampbench report --output report && open report/index.html
    """
    from stampbench.benchmark.environment.progress import Progress
    from stampbench.benchmark.records.reinference import Reinference
    from stampbench.benchmark.records.run_pages import run_details
    from stampbench.benchmark.records.run_store import RunStore
    from stampbench.datasets.atomic_file import whole_folder
    from stampbench.reports.leaderboard import leaderboards
    from stampbench.reports.overall import overall_ranking
    from stampbench.reports.page import write_page

    discover_plugins()
    records = read_chosen(runs_folder, chosen)
    boards = leaderboards(records.runs, records.cases, records.timings)
    with Progress("report", len(records.runs)) as progress:
        details = run_details(
            records, Reinference(RunStore(runs_folder), data_root, folder), runs_folder, pictures=pictures,
            report=lambda done, total: progress.case(done, total, "writing", "run"),
        )  # fmt: skip
        try:
            with whole_folder(output) as page:
                size = write_page(
                    page, boards, overall_ranking(boards), records.runs, records.trajectories, details, _about()
                )  # fmt: skip
        except OSError as error:
            raise UserError(f"cannot write {output}: {error.strerror or error}") from error
    click.echo(f"{output / 'index.html'}: {len(boards)} tables, {len(records.runs)} runs, {size / 1e6:.1f} MB")


def _about() -> About:
    """Return the contents of the footer, and the descriptions of all strategies that can be loaded."""
    from datetime import UTC, datetime
    from importlib import metadata

    from stampbench.benchmark.cli.list_names import describe
    from stampbench.benchmark.environment.provenance import provenance
    from stampbench.datasets.catalogue import CATALOGUE
    from stampbench.reports.page import About

    version = metadata.version("stampbench")
    return About(
        date=datetime.now(UTC).date().isoformat(),
        version=version,
        commit=provenance().git_commit or "",
        citation=f"The stampbench developers: stampbench, version {version}, "
        "https://github.com/stampbench/stampbench; and the papers of the strategies and datasets.",
        strategies=describe("strategies"),
        datasets={name: each.summary for name, each in CATALOGUE.items()},
    )
