"""`stampbench submit`: checks of records before they join a published leaderboard."""

from __future__ import annotations

from pathlib import Path

import click

from stampbench.benchmark.cli.common import discover_plugins, echo
from stampbench.benchmark.cli.options import DATA_ROOT, FOLDER, MAX_VOXELS
from stampbench.benchmark.errors import UserError
from stampbench.reports.escape import one_line


@click.group()
def submit() -> None:
    """Submit runs to a published leaderboard.

    \b
    Example:
      stampbench submit check runs --against leaderboards
    """


@submit.command()
@click.argument("submission", metavar="FOLDER", type=click.Path(path_type=Path))
@click.option("--against", type=click.Path(path_type=Path), help="Published tables that the runs are to join")
@click.option("--rescore", default="3", show_default=True, help="Random cases per run to segment again, 0, or all")
@click.option("--max-memory", default=8.0, show_default=True, help="Memory of the check, in gigabytes")
@click.option("--max-seconds", default=600.0, show_default=True, help="Time for each run, in seconds")
@FOLDER
@DATA_ROOT
@MAX_VOXELS
def check(
    submission: Path, against: Path | None, rescore: str, max_memory: float, max_seconds: float, folder: str | None,
    data_root: Path | None,
) -> int:  # fmt: skip
    """Check somebody's records before they are merged. The exit code is 1 if they are refused.

    Runs whose test cases cannot be segmented again are refused; without the data, say --rescore 0. A folder that a
    record names is not opened; --folder is the data of runs on anything but a named dataset.

    \b
    Example:
      stampbench submit check runs --against leaderboards
    """
    from stampbench.benchmark.environment.progress import Progress
    from stampbench.benchmark.records.run_store import holds_tables
    from stampbench.benchmark.records.submission_process import Limits, check_in_child
    from stampbench.benchmark.records.tables import read_records

    if not submission.is_dir():
        raise UserError(f"no runs at {submission}; a submission is the folder that 'stampbench run' wrote")
    if holds_tables(submission):
        raise UserError(f"{submission} holds published tables; a submission is the folder that 'stampbench run' wrote")
    if rescore != "all" and not (rescore.isdecimal() and len(rescore) < 10):
        raise UserError(f"--rescore '{rescore}' is neither a number of cases nor 'all'")
    if not (0 < max_memory < 1e6 and 0 < max_seconds < 1e9):
        raise UserError(f"--max-memory {max_memory:g} and --max-seconds {max_seconds:g} must be above 0 and finite")
    discover_plugins()
    published = None if against is None else read_records(against, [])
    with Progress("submission", 1) as progress:
        result = check_in_child(
            submission, published, data_root, folder=folder, rescore=None if rescore == "all" else int(rescore),
            limits=Limits(max_memory, max_seconds),
            report=lambda done, total: progress.case(done, total, "checking", "run"),
        )  # fmt: skip
    for problem in result.problems:
        echo(one_line(f"refused: {problem}"))
    if any("was not segmented again" in problem for problem in result.problems):
        echo("data of runs that were not segmented again: see --data-root, --folder and --rescore")
    verdict = "refused" if result.problems else "accepted"
    echo(f"{verdict}: {result.runs} runs, {result.rescored} cases segmented again")
    return 1 if result.problems else 0
