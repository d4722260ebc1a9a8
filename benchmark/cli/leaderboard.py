"""Commands that read records and show them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stampbench.benchmark.cli.options import ROOT, RUNS, find_datasets, load_plugins, write_output
from stampbench.benchmark.errors import UserError, unknown

if TYPE_CHECKING:
    import pandas as pd

    from stampbench.benchmark.records.tables import Records

DATASET = click.option("--dataset", help="Only this dataset")
N_TRAIN = click.option("--n-train", type=int, help="Only this training size")
PROTOCOL = click.option("--protocol", help="Only this protocol, as tables name it")
STRATEGY = click.option("--strategy", "strategies", multiple=True, help="Only this one, as tables name it; repeatable")


@click.command()
@RUNS
@DATASET
@N_TRAIN
@PROTOCOL
@STRATEGY
@click.option(
    "--format",
    "style",
    type=click.Choice(["markdown", "csv", "json", "latex"]),
    default="markdown",
    show_default=True,
)
@click.option("--output", type=click.Path(path_type=Path), help="Write to a file instead of the screen")
def leaderboard(
    runs_folder: Path, dataset: str | None, n_train: int | None, protocol: str | None, strategies: tuple[str, ...],
    style: str, output: Path | None,
) -> None:  # fmt: skip
    """Tables from the recorded runs, one per dataset, training size and protocol.

    \b
    Example:
      stampbench leaderboard --dataset hippocampus --format csv --output hippocampus.csv
    """
    from stampbench.reports.leaderboard import leaderboards
    from stampbench.reports.mean_rank import overall_ranking
    from stampbench.reports.table_formats import FORMATS

    records = read(runs_folder, dataset, n_train, protocol, strategies, trajectories=False)
    boards = leaderboards(records.runs, records.cases, records.timings)
    text = FORMATS[style](boards, overall_ranking(boards))
    if output is None:
        click.echo(text, nl=False)
        return
    write_output(output, text)


@click.command()
@click.argument("first")
@click.argument("second")
@RUNS
@DATASET
@N_TRAIN
@PROTOCOL
@click.option("--cases", default=5, show_default=True, type=click.IntRange(0), help="That differ most, either way")
def compare(
    first: str, second: str, runs_folder: Path, dataset: str | None, n_train: int | None, protocol: str | None,
    cases: int,
) -> None:  # fmt: skip
    """Two strategies as a leaderboard names them, or two runs by their ids, paired case by case.

    \b
    Example:
      stampbench compare stamp_plus standard --dataset hippocampus
    """
    from stampbench.reports.comparison import IncomparableError, to_markdown
    from stampbench.reports.comparison import compare as compare_runs

    records = read(runs_folder, dataset, n_train, protocol, trajectories=False)
    one, other = choose(records.runs, first), choose(records.runs, second)
    try:
        click.echo(to_markdown(compare_runs(one, other, records.cases), cases), nl=False)
    except IncomparableError as error:
        raise UserError(f"'{first}' and '{second}' cannot be compared: {error}") from error


@click.command()
@RUNS
@DATASET
@N_TRAIN
@PROTOCOL
@click.option("--output", type=click.Path(path_type=Path), required=True, help="Folder of the page")
@click.option("--pictures/--no-pictures", default=True, show_default=True, help="Of each run's worst test cases")
@ROOT
def report(
    runs_folder: Path, dataset: str | None, n_train: int | None, protocol: str | None, output: Path, pictures: bool,
    data_root: Path | None,
) -> None:  # fmt: skip
    """Write a page of leaderboards and runs that opens from disk and from any web server, without network.

    \b
    Example:
      stampbench report --output report && open report/index.html
    """
    from stampbench.benchmark.environment.progress import Progress
    from stampbench.benchmark.records.run_pages import run_details
    from stampbench.reports.leaderboard import leaderboards
    from stampbench.reports.mean_rank import overall_ranking
    from stampbench.reports.page import write_page

    prepare_names()
    records = read(runs_folder, dataset, n_train, protocol)
    boards = leaderboards(records.runs, records.cases, records.timings)
    with Progress("report", len(records.runs)) as progress:
        details = run_details(
            records, runs_folder, data_root, pictures=pictures,
            report=lambda done, of: progress.case(done, of, "writing", "run"),
        )  # fmt: skip
        try:
            size = write_page(output, boards, overall_ranking(boards), records.runs, records.trajectories, details)
        except OSError as error:
            raise UserError(f"cannot write {output}: {error.strerror or error}") from error
    click.echo(f"{output / 'index.html'}: {len(boards)} tables, {len(records.runs)} runs, {size / 1e6:.1f} MB")


@click.command()
@RUNS
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path("leaderboards"),
    show_default=True,
    help="Folder of tables",
)
def publish(runs_folder: Path, output: Path) -> None:
    """Add finished runs to tables for version control, without weights, and render their leaderboards.

    \b
    Example:
      stampbench publish --runs runs --output leaderboards
    """
    from stampbench.benchmark.records.publish import BOARDS
    from stampbench.benchmark.records.publish import publish as publish_runs

    prepare_names()
    problems: list[str] = []
    records = publish_runs(runs_folder, output, problems)
    for problem in problems:
        click.echo(f"warning: left out: {problem}", err=True)
    click.echo(f"{output}: {len(records.runs)} runs; {output / BOARDS}")


@click.command()
@click.argument("documents", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--check", "only_check", is_flag=True, help="Change nothing; exit code 1 when a document is not up to date"
)
def render(documents: tuple[Path, ...], only_check: bool) -> int:
    """Run the commands that stand in markdown documents, put in what they print and draw their figures.

    A block is a comment with a leaderboard or compare command, and ends with the comment 'end'. A figure is a comment
    with a figure command in the line above the picture.

    \b
    Example:
      stampbench render leaderboards/README.md README.md
    """
    from stampbench.benchmark.records.documents import drift, rendered, stale_figures

    stale = 0
    for path in documents:
        lines, figures = drift(path), stale_figures(path)
        stale += bool(lines or figures)
        if lines and not only_check:
            write_output(path, rendered(path))
        for figure, drawn in figures.items():
            if not only_check:
                write_output(figure, drawn)
            lines.append(f"{figure}: {'differs' if only_check else 'drawn again'}")
        click.echo(
            "\n".join([f"{path}: {'differs' if only_check else 'rendered'}", *lines])
            if lines
            else f"{path}: up to date"
        )
    return 1 if only_check and stale else 0


@click.group()
def submit() -> None:
    """Offer runs to a published leaderboard."""


@submit.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option(
    "--against", type=click.Path(path_type=Path), help="Published tables that the runs are to join  [default: none]"
)
@click.option("--rescore", default="3", show_default=True, help="Random cases of each run to segment again, or all")
@ROOT
def check(folder: Path, against: Path | None, rescore: str, data_root: Path | None) -> int:
    """Look through somebody's records before they are merged. Ends with exit code 1 when they are refused.

    \b
    Example:
      stampbench submit check runs --against leaderboards
    """
    from stampbench.benchmark.environment.progress import Progress
    from stampbench.benchmark.records.submission import check_submission
    from stampbench.benchmark.records.tables import read_records

    if not folder.is_dir():
        raise UserError(f"no runs at {folder}; a submission is the folder that 'stampbench run' wrote")
    if rescore != "all" and not rescore.isdecimal():
        raise UserError(f"--rescore '{rescore}' is neither a number of cases nor 'all'")
    prepare_names()
    published = None if against is None else read_records(against, [])
    with Progress("submission", 1) as progress:
        checked = check_submission(
            folder, published, data_root, rescore=None if rescore == "all" else int(rescore),
            report=lambda done, of: progress.case(done, of, "checking", "run"),
        )  # fmt: skip
    for note in checked.notes:
        click.echo(f"note: {note}")
    for problem in checked.problems:
        click.echo(f"refused: {problem}")
    verdict = "refused" if checked.problems else "accepted"
    click.echo(f"{verdict}: {checked.runs} runs, {checked.rescored} cases segmented again")
    return 1 if checked.problems else 0


def prepare_names() -> None:
    """Installed datasets and strategies are known by their names from here on."""
    find_datasets()
    load_plugins(())


def read(
    runs_folder: Path, dataset: str | None = None, n_train: int | None = None, protocol: str | None = None,
    strategies: tuple[str, ...] = (), *, trajectories: bool = True,
) -> Records:  # fmt: skip
    """The finished runs that options ask for; what is damaged is told and left out.

    Raises:
        UserError: there are none, or none of a strategy.
    """
    from stampbench.benchmark.records.tables import read_records

    problems: list[str] = []
    records = read_records(runs_folder, problems, trajectories=trajectories)
    for problem in problems:
        click.echo(f"warning: left out: {problem}", err=True)
    asked = {"dataset": dataset, "n_train": n_train, "protocol": protocol}
    runs = records.runs
    for column, value in asked.items():
        if value is not None and len(runs):
            runs = runs[runs[column] == value]
    if runs.empty:
        which = ", ".join(f"{name.replace('_', ' ')} '{value}'" for name, value in asked.items() if value is not None)
        raise UserError(f"no finished runs{' of ' if which else ''}{which} at {runs_folder}")
    known = sorted(set(runs["strategy"]))
    for each in strategies:
        if each not in known:
            raise unknown("strategy", each, known)
    return records.of(runs[runs["strategy"].isin(strategies)] if strategies else runs)


def choose(runs: pd.DataFrame, text: str) -> pd.DataFrame:
    """The runs of a strategy, or one by the beginning of its id.

    Raises:
        UserError: there are none, or several runs begin so.
    """
    found = runs[runs["strategy"] == text]
    if found.empty and text:
        found = runs[runs["run"].str.startswith(text)]
        if len(found) > 1:
            raise UserError(f"run '{text}' could be {', '.join(sorted(found['run']))}")
    if found.empty:
        raise unknown("strategy or run", text, sorted(set(runs["strategy"])))
    return found
