"""`stampbench compare`: two strategies or two runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stampbench.benchmark.cli.common import echo, read_chosen
from stampbench.benchmark.cli.completion import STRATEGY_OR_RUN
from stampbench.benchmark.cli.options import RUNS, RecordFilter, filter_options
from stampbench.benchmark.cli.tables import TableStyle, print_listings, table_options
from stampbench.benchmark.errors import UserError, unknown

if TYPE_CHECKING:
    import pandas as pd

    from stampbench.benchmark.records.tables import Records
    from stampbench.reports.comparison import Comparison


@click.command()
@click.argument("first", shell_complete=STRATEGY_OR_RUN)
@click.argument("others", nargs=-1, required=True, shell_complete=STRATEGY_OR_RUN)
@RUNS
@filter_options(strategies=False)
@click.option(
    "--cases", default=5, show_default=True, type=click.IntRange(0), help="Cases with the largest differences"
)
@table_options
@click.option("--notes/--no-notes", default=True, show_default=True, help="Explain the columns below the table")
def compare(
    first: str, others: tuple[str, ...], runs_folder: Path, chosen: RecordFilter, cases: int, table: TableStyle,
    notes: bool,
) -> None:  # fmt: skip
    """Compare a strategy with OTHERS as a leaderboard names them, or two runs by their ids.

    STRATEGY@PROTOCOL names the runs of one protocol. Strategies whose protocols differ only in their epoch budget can
    be compared, too. p-values are corrected for all rows of the table.

    \b
    Example:
      stampbench compare stamp_plus standard --dataset hippocampus
      stampbench compare stamp_plus standard random_largest "standard@paper (patience=1736, max_epochs=1736)"
    """
    from stampbench.reports.comparison_tables import case_listings, comparison_listing, to_markdown

    comparisons = comparisons_of(read_chosen(runs_folder, chosen, trajectories=False), first, others)
    style = table.format_for()
    if style == "md" and table.plain:
        echo(to_markdown(comparisons, cases, notes=notes), nl=False)
        return
    summary = comparison_listing(comparisons)
    print_listings([summary if notes else summary._replace(notes=(), caption="")], table)
    if style == "short" and cases:
        print_listings(case_listings(comparisons, cases), TableStyle("short"))


def comparisons_of(records: Records, first: str, others: Sequence[str]) -> list[Comparison]:
    """Return the comparisons of a strategy with others, or of two runs, by what a user calls them.

    Raises:
        UserError: when a name is not known, or the runs have nothing in common.
    """
    from stampbench.reports.comparison import IncomparableError
    from stampbench.reports.comparison import compare as compare_runs

    one, comparisons = _runs_of(records.runs, first), list[Any]()
    for other in dict.fromkeys(others):
        try:
            comparisons += compare_runs(one, _runs_of(records.runs, other), records.cases)
        except IncomparableError as error:
            raise UserError(f"'{first}' and '{other}' cannot be compared: {error}") from error
    return comparisons


def _runs_of(runs: pd.DataFrame, text: str) -> pd.DataFrame:
    """Return the runs of a strategy, or of `STRATEGY@PROTOCOL`, or one run by the beginning of its id.

    Raises:
        UserError: when there are none, or an id is ambiguous.
    """
    strategy, at, protocol = text.partition("@")
    found = runs[(runs["strategy"] == strategy) & ((runs["protocol"] == protocol) | (not at))]
    if at and found.empty and (runs["strategy"] == strategy).any():
        raise unknown(
            f"protocol of '{strategy}'", protocol, sorted(set(runs.loc[runs["strategy"] == strategy, "protocol"]))
        )
    if found.empty and text:
        found = runs[runs["run"].str.startswith(text)]
        if len(found) > 1:
            raise UserError(f"run '{text}' is ambiguous: {', '.join(sorted(found['run']))}")
    if found.empty:
        raise unknown("strategy or run", text, sorted(set(runs["strategy"])))
    return found
