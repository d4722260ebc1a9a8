"""`stampbench leaderboard`: prints tables of recorded runs, which `stampbench.reports.leaderboard` computes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stampbench.benchmark.cli.common import echo, read_chosen, write_output
from stampbench.benchmark.cli.options import RUNS, NumberWithUnit, RecordFilter, filter_options
from stampbench.benchmark.cli.tables import TableStyle, arranged, table_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stampbench.reports.by_class import ClassTable
    from stampbench.reports.leaderboard import Board
    from stampbench.reports.listing import Listing
    from stampbench.reports.overall import OverallRanking


@click.command()
@RUNS
@filter_options()
@table_options
@click.option("--by-class", is_flag=True, help="A row per strategy and class, with sensitivity and precision")
@click.option("--max-parameters", type=NumberWithUnit(), help="Only strategies with at most so many, such as 20k")
@click.option("--max-flops", type=NumberWithUnit(), help="Only strategies with at most so many FLOPs, such as 50M")
@click.option("--max-latency", type=NumberWithUnit(), help="Only strategies with at most this times standard's latency")
@click.option("--max-epochs", type=NumberWithUnit(), help="Only strategies that are charged at most so many epochs")
@click.option("--output", type=click.Path(path_type=Path), help="Write to a file instead of the screen")
def leaderboard(
    runs_folder: Path, chosen: RecordFilter, table: TableStyle, by_class: bool, output: Path | None, **limits: float
) -> None:
    """Print tables of recorded runs, one per dataset, training size and protocol.

    With limits (--max-…), the answer comes first: which strategies are best within them.

    \b
    Example:
      stampbench leaderboard --dataset hippocampus --format csv --output hippocampus.csv
      stampbench leaderboard --dataset dsb2018 --n-train 25 --max-parameters 20k --max-latency 0.9
      stampbench leaderboard --dataset hippocampus --by-class
      stampbench leaderboard --columns strategy,dice,hd95_p90,parameters --sort parameters
    """
    from stampbench.reports.budget import Budget, answer, within
    from stampbench.reports.by_class import class_tables
    from stampbench.reports.leaderboard import leaderboards
    from stampbench.reports.overall import overall_ranking
    from stampbench.reports.table_formats import listing_of

    records = read_chosen(runs_folder, chosen, trajectories=False)
    budget = Budget(**{name.removeprefix("max_"): limit for name, limit in limits.items()})
    boards = leaderboards(records.runs, records.cases, records.timings)
    style = table.format_for(file=output is not None)
    if style == "short" and not by_class:
        for board in boards:
            (shown,) = arranged([listing_of(within(board, budget))], table, short=True)
            _print_board(board, shown, answer(board, budget))
        return
    answers = [answer(board, budget) for board in boards] if str(budget) else []
    shown_boards = [within(board, budget) for board in boards]
    tables = class_tables(shown_boards, records.runs, records.cases) if by_class else shown_boards
    text = _formatted(tables, () if by_class or answers else overall_ranking(boards), style, table)
    if answers and style == "md":
        text = "\n".join(f"{board.title}: {line}\n" for board, line in zip(boards, answers, strict=True)) + "\n" + text
    if output is None:
        echo(text, nl=False)
    else:
        write_output(output, text)


def _formatted(
    tables: Sequence[Board | ClassTable], rankings: Sequence[OverallRanking], style: str, table: TableStyle
) -> str:
    """Return tables in a format; rankings are left out if columns are chosen, which they do not have.

    Args:
        tables: leaderboards or tables by class.
        rankings: overall rankings.
        style: the format; `short` is markdown here.
        table: columns and order.
    """
    from stampbench.reports import listing
    from stampbench.reports.table_formats import FORMATS, listing_of

    style = "md" if style == "short" else style
    if table.plain:
        return FORMATS[style](tables, rankings)
    chosen = arranged([listing_of(each) for each in tables], table, short=style == "latex")
    if style in ("md", "latex"):
        return listing.FORMATS[style](chosen)
    picked = [each._replace(rows=own.values) for each, own in zip(tables, chosen, strict=True)]
    return FORMATS[style](picked, ())


def _print_board(board: Board, shown: Listing, line: str) -> None:
    """Print the answer of a leaderboard and a table with a line per strategy."""
    from rich.console import Console
    from rich.text import Text

    from stampbench.benchmark.cli.tables import print_short
    from stampbench.reports.escape import one_line

    about = board.about
    console = Console(highlight=False)
    title = f"{about['dataset']}, {about['n_train']} training images, protocol {about['protocol']}, {about['form']}"
    console.print(Text(f"\n{one_line(title)}", style="bold"))
    console.print(Text(one_line(line)))
    print_short(shown, title="", notes=board.notes[1:])
