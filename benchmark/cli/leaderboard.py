"""`stampbench leaderboard`: prints tables of recorded runs, which `stampbench.reports.leaderboard` computes."""

from __future__ import annotations

from pathlib import Path

import click

from stampbench.benchmark.cli.common import echo, read_chosen, write_output
from stampbench.benchmark.cli.options import RUNS, RecordFilter, filter_options


@click.command()
@RUNS
@filter_options()
@click.option(
    "--format",
    "style",
    type=click.Choice(["markdown", "csv", "json", "latex"]),
    default="markdown",
    show_default=True,
    help="Format of the tables",
)
@click.option("--by-class", is_flag=True, help="A row per strategy and class, with sensitivity and precision")
@click.option("--output", type=click.Path(path_type=Path), help="Write to a file instead of the screen")
def leaderboard(runs_folder: Path, chosen: RecordFilter, style: str, by_class: bool, output: Path | None) -> None:
    """Print tables of recorded runs, one per dataset, training size and protocol.

    \b
    Example:
      stampbench leaderboard --dataset hippocampus --format csv --output hippocampus.csv
      stampbench leaderboard --dataset hippocampus --by-class
    """
    from stampbench.reports.by_class import class_tables
    from stampbench.reports.leaderboard import leaderboards
    from stampbench.reports.overall import overall_ranking
    from stampbench.reports.table_formats import FORMATS

    records = read_chosen(runs_folder, chosen, trajectories=False)
    boards = leaderboards(records.runs, records.cases, records.timings)
    if by_class:
        text = FORMATS[style](class_tables(boards, records.runs, records.cases), ())
    else:
        text = FORMATS[style](boards, overall_ranking(boards))
    if output is None:
        echo(text, nl=False)
    else:
        write_output(output, text)
