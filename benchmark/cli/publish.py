"""`stampbench publish`: tables for version control."""

from __future__ import annotations

from pathlib import Path

import click

from stampbench.benchmark.cli.common import discover_plugins, warn_skipped
from stampbench.benchmark.cli.options import RUNS


@click.command()
@RUNS
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("leaderboards"),
    show_default=True,
    help="Folder of the tables",
)
def publish(runs_folder: Path, output: Path) -> None:
    """Add finished runs to tables for version control, without weights, and render their leaderboards.

    \b
    Example:
      stampbench publish --runs runs --output leaderboards
    """
    from stampbench.benchmark.records.publish import BOARDS
    from stampbench.benchmark.records.publish import publish as publish_runs

    discover_plugins()
    problems: list[str] = []
    records = publish_runs(runs_folder, output, problems)
    warn_skipped(problems)
    click.echo(f"{output}: {len(records.runs)} runs; {output / BOARDS}")
