"""`stampbench compare`: two strategies or two runs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stampbench.benchmark.cli.common import read_chosen
from stampbench.benchmark.cli.options import RUNS, RecordFilter, filter_options
from stampbench.benchmark.errors import UserError, unknown

if TYPE_CHECKING:
    import pandas as pd


@click.command()
@click.argument("first")
@click.argument("second")
@RUNS
@filter_options(strategies=False)
@click.option(
    "--cases", default=5, show_default=True, type=click.IntRange(0), help="Cases with the largest differences"
)
def compare(first: str, second: str, runs_folder: Path, chosen: RecordFilter, cases: int) -> None:
    """Compare two strategies as a leaderboard names them, or two runs by their ids, paired by case.

    \b
    Example:
      stampbench compare stamp_plus standard --dataset hippocampus
    """
    from stampbench.reports.comparison import IncomparableError, to_markdown
    from stampbench.reports.comparison import compare as compare_runs

    records = read_chosen(runs_folder, chosen, trajectories=False)
    one, other = _runs_of(records.runs, first), _runs_of(records.runs, second)
    try:
        click.echo(to_markdown(compare_runs(one, other, records.cases), cases), nl=False)
    except IncomparableError as error:
        raise UserError(f"'{first}' and '{second}' cannot be compared: {error}") from error


def _runs_of(runs: pd.DataFrame, text: str) -> pd.DataFrame:
    """Return the runs of a strategy, or one run by the beginning of its id.

    Raises:
        UserError: when there are none, or an id is ambiguous.
    """
    found = runs[runs["strategy"] == text]
    if found.empty and text:
        found = runs[runs["run"].str.startswith(text)]
        if len(found) > 1:
            raise UserError(f"run '{text}' is ambiguous: {', '.join(sorted(found['run']))}")
    if found.empty:
        raise unknown("strategy or run", text, sorted(set(runs["strategy"])))
    return found
