"""`stampbench leaderboard`: prints tables of recorded runs, which `stampbench.reports.leaderboard` computes."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stampbench.benchmark.cli.common import echo, read_chosen, without_garbage_collection, write_output
from stampbench.benchmark.cli.options import RUNS, NumberWithUnit, RecordFilter, filter_options
from stampbench.benchmark.cli.tables import TableStyle, arranged, formatted, print_listings, print_short, table_options
from stampbench.benchmark.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stampbench.benchmark.records.tables import Records
    from stampbench.reports.budget import Budget
    from stampbench.reports.by_class import ClassTable
    from stampbench.reports.leaderboard import Board
    from stampbench.reports.listing import Listing
    from stampbench.reports.overall import OverallRanking


@click.command()
@RUNS
@filter_options()
@table_options
@click.option("--answers", is_flag=True, help="One table: what to use for few parameters and other needs, if decided")
@click.option("--by-class", is_flag=True, help="A row per strategy and class, with sensitivity and precision")
@click.option(
    "--max-parameters", type=NumberWithUnit(), help="Only strategies with at most so many parameters, such as 20k"
)
@click.option("--max-flops", type=NumberWithUnit(), help="Only strategies with at most so many FLOPs, such as 50M")
@click.option("--max-latency", type=NumberWithUnit(), help="Only strategies with at most this times standard's latency")
@click.option("--max-epochs", type=NumberWithUnit(), help="Only strategies that are charged at most so many epochs")
@click.option("--output", type=click.Path(path_type=Path), help="Write to a file instead of the screen")
@without_garbage_collection()
def leaderboard(
    runs_folder: Path, chosen: RecordFilter, table: TableStyle, answers: bool, by_class: bool, output: Path | None,
    **limits: float,
) -> None:  # fmt: skip
    """Print tables of recorded runs, one per dataset, training size and protocol.

    With limits (--max-…), the answer comes first: which strategies are best within them. With --answers, there is
    one table of needs; the limits are the first need, or else 20,000 parameters.

    \b
    Example:
      stampbench leaderboard --dataset hippocampus --format csv --output hippocampus.csv
      stampbench leaderboard --dataset dsb2018 --n-train 25 --max-parameters 20k --max-latency 0.9
      stampbench leaderboard --answers
      stampbench leaderboard --dataset hippocampus --by-class
      stampbench leaderboard --columns strategy,dice,hd95_p90,parameters --sort parameters
    """
    from stampbench.reports.budget import Budget
    from stampbench.reports.leaderboard import leaderboards

    if answers and by_class:
        raise UserError("--answers and --by-class are different tables; choose one")
    style = table.format_for(file=output is not None)
    records = read_chosen(runs_folder, chosen, trajectories=False)
    budget = Budget(**{name.removeprefix("max_"): limit for name, limit in limits.items()})
    boards = leaderboards(records.runs, records.cases, records.timings)
    if answers:
        text = _listed([_answers(boards, records, budget)], style, table)
    elif by_class:
        text = _by_class(boards, records, budget, style, table)
    else:
        text = _boards(boards, budget, style, table)
    if output is None:
        echo(text, nl=False)
    else:
        write_output(output, text)


def _listed(listings: Sequence[Listing], style: str, table: TableStyle) -> str:
    """Return tables as text; those that fit the terminal are printed at once.

    Args:
        listings: the tables.
        style: the format.
        table: columns and order.
    """
    if style == "short":
        print_listings(listings, table._replace(style=style))
        return ""
    return formatted(listings, table, style)


def _answers(boards: Sequence[Board], records: Records, budget: Budget) -> Listing:
    """Return the table of needs; without a budget it has the usual one."""
    from stampbench.reports.answer_table import answer_listing
    from stampbench.reports.answers import answers
    from stampbench.reports.needs import LIMIT

    return answer_listing(answers(boards, records.runs, budget if str(budget) else LIMIT))


def _by_class(boards: Sequence[Board], records: Records, budget: Budget, style: str, table: TableStyle) -> str:
    """Return the tables by class.

    Args:
        boards: leaderboards.
        records: their records.
        budget: limits of their rows.
        style: the format.
        table: columns and order.
    """
    from stampbench.reports.budget import within
    from stampbench.reports.by_class import class_listing, class_tables

    tables = class_tables([within(board, budget) for board in boards], records.runs, records.cases)
    if style == "short":
        return _listed([class_listing(each) for each in tables], style, table)
    return _formatted(tables, (), style, table)


def _boards(boards: Sequence[Board], budget: Budget, style: str, table: TableStyle) -> str:
    """Return leaderboards, with their answers if there is a budget; those that fit the terminal are printed at once.

    Args:
        boards: leaderboards.
        budget: limits of their rows.
        style: the format.
        table: columns and order.
    """
    from stampbench.reports.budget import answer, within
    from stampbench.reports.overall import overall_ranking
    from stampbench.reports.table_formats import listing_of

    shown = [within(board, budget) for board in boards]
    if style == "short":
        for board, own in zip(boards, shown, strict=True):
            (listing,) = arranged([listing_of(own)], table, style)
            _print_board(board, listing, answer(board, budget))
        return ""
    if not str(budget):
        return _formatted(shown, overall_ranking(boards), style, table)
    lines = [f"{board.title}: {answer(board, budget)}\n" for board in boards] if style == "md" else []
    return "\n".join([*lines, _formatted(shown, (), style, table)])


def _formatted(
    tables: Sequence[Board | ClassTable], rankings: Sequence[OverallRanking], style: str, table: TableStyle
) -> str:
    """Return tables in a format; rankings are left out if columns are chosen, which they do not have.

    Args:
        tables: leaderboards or tables by class.
        rankings: overall rankings.
        style: the format.
        table: columns and order.
    """
    from stampbench.reports.table_formats import FORMATS, listing_of

    if table.plain:
        return FORMATS[style](tables, rankings)
    listings = [listing_of(each) for each in tables]
    if table.columns and style in ("md", "latex"):
        return formatted(listings, table, style)
    chosen = arranged(listings, table, style)
    ordered = [
        each._replace(rows=own.values if table.columns else each.rows.loc[own.values.index])
        for each, own in zip(tables, chosen, strict=True)
    ]
    return FORMATS[style](ordered, () if table.columns else rankings)


def _print_board(board: Board, shown: Listing, line: str) -> None:
    """Print the answer of a leaderboard and a table with a line per strategy."""
    from rich.console import Console
    from rich.text import Text

    from stampbench.reports.escape import one_line

    about = board.about
    console = Console(highlight=False)
    title = f"{about['dataset']}, {about['n_train']} training images, protocol {about['protocol']}, {about['form']}"
    console.print(Text(f"\n{one_line(title)}", style="bold"))
    console.print(Text(one_line(line)))
    print_short(shown, title="", notes=board.notes[1:])
