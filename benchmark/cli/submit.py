"""`stampbench submit`: checks of records before they join a published leaderboard."""

from __future__ import annotations

from pathlib import Path

import click

from stampbench.benchmark.cli.common import discover_plugins, echo
from stampbench.benchmark.cli.options import DATA_ROOT, MAX_VOXELS
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
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--against", type=click.Path(path_type=Path), help="Published tables that the runs are to join")
@click.option("--rescore", default="3", show_default=True, help="Random cases per run to segment again, or all")
@DATA_ROOT
@MAX_VOXELS
def check(folder: Path, against: Path | None, rescore: str, data_root: Path | None) -> int:
    """Check somebody's records before they are merged. The exit code is 1 if they are refused.

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
    discover_plugins()
    published = None if against is None else read_records(against, [])
    with Progress("submission", 1) as progress:
        result = check_submission(
            folder, published, data_root, rescore=None if rescore == "all" else int(rescore),
            report=lambda done, total: progress.case(done, total, "checking", "run"),
        )  # fmt: skip
    for note in result.notes:
        echo(one_line(f"note: {note}"))
    for problem in result.problems:
        echo(one_line(f"refused: {problem}"))
    verdict = "refused" if result.problems else "accepted"
    echo(f"{verdict}: {result.runs} runs, {result.rescored} cases segmented again")
    return 1 if result.problems else 0
