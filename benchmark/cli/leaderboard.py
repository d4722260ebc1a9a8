"""`stampbench leaderboard`: prints tables of recorded runs, which `stampbench.reports.leaderboard` computes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stampbench.benchmark.cli.common import echo, read_chosen, write_output
from stampbench.benchmark.cli.options import RUNS, NumberWithUnit, RecordFilter, filter_options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stampbench.reports.budget import Budget
    from stampbench.reports.leaderboard import Board


@click.command()
@RUNS
@filter_options()
@click.option(
    "--format",
    "style",
    type=click.Choice(["short", "markdown", "csv", "json", "latex"]),
    help="Format of the tables  [default: short on a terminal, else markdown]",
)
@click.option("--by-class", is_flag=True, help="A row per strategy and class, with sensitivity and precision")
@click.option("--max-parameters", type=NumberWithUnit(), help="Only strategies with at most so many, such as 20k")
@click.option("--max-flops", type=NumberWithUnit(), help="Only strategies with at most so many FLOPs, such as 50M")
@click.option("--max-latency", type=NumberWithUnit(), help="Only strategies with at most this times standard's latency")
@click.option("--max-epochs", type=NumberWithUnit(), help="Only strategies that are charged at most so many epochs")
@click.option("--output", type=click.Path(path_type=Path), help="Write to a file instead of the screen")
def leaderboard(
    runs_folder: Path, chosen: RecordFilter, style: str | None, by_class: bool, output: Path | None, **limits: float
) -> None:
    """Print tables of recorded runs, one per dataset, training size and protocol.

    With limits (--max-…), the answer comes first: which strategies are best within them.

    \b
    Example:
      stampbench leaderboard --dataset hippocampus --format csv --output hippocampus.csv
      stampbench leaderboard --dataset dsb2018 --n-train 25 --max-parameters 20k --max-latency 0.9
      stampbench leaderboard --dataset hippocampus --by-class
    """
    from stampbench.reports.budget import Budget, answer, within
    from stampbench.reports.by_class import class_tables
    from stampbench.reports.leaderboard import leaderboards
    from stampbench.reports.overall import overall_ranking
    from stampbench.reports.table_formats import FORMATS

    records = read_chosen(runs_folder, chosen, trajectories=False)
    budget = Budget(**{name.removeprefix("max_"): limit for name, limit in limits.items()})
    boards = leaderboards(records.runs, records.cases, records.timings)
    style = style or ("short" if output is None and sys.stdout.isatty() and not by_class else "markdown")
    if style == "short":
        _print_short(boards, budget)
        return
    answers = [answer(board, budget) for board in boards] if str(budget) else []
    shown = [within(board, budget) for board in boards]
    tables = class_tables(shown, records.runs, records.cases) if by_class else shown
    text = FORMATS[style](tables, () if by_class or answers else overall_ranking(boards))
    if answers and style == "markdown":
        text = "\n".join(f"{board.title}: {line}\n" for board, line in zip(boards, answers, strict=True)) + "\n" + text
    if output is None:
        echo(text, nl=False)
    else:
        write_output(output, text)


def _print_short(boards: Sequence[Board], budget: Budget) -> None:
    """Print for each leaderboard its answer and a table with a line per strategy."""
    from rich.console import Console
    from rich.table import Table

    from stampbench.reports.budget import answer, within
    from stampbench.reports.escape import one_line
    from stampbench.reports.short_table import short_table

    console = Console(highlight=False, soft_wrap=False)
    for board in boards:
        about = board.about
        console.print(
            f"\n[bold]{_plain(str(about['dataset']))}[/bold], {about['n_train']} training images, protocol "
            f"{_plain(str(about['protocol']))}, {_plain(str(about['form']))}"
        )
        console.print(_plain(answer(board, budget)))
        table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, header_style="bold")
        text = short_table(within(board, budget))
        for name in map(str, text):
            left = name in ("strategy", "Δ to standard")
            width = 10 if name == "strategy" else None
            table.add_column(
                name, justify="left" if left else "right", no_wrap=width is None, min_width=width, overflow="fold"
            )
        for cells in text.to_numpy().tolist():
            table.add_row(*(_plain(one_line(cell)) for cell in cells))
        if len(text):
            console.print(table)
        for note in board.notes[1:]:
            console.print(_plain(one_line(note)), style="dim")


def _plain(text: str) -> str:
    from rich.markup import escape

    return escape(text)
