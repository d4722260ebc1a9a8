"""`stampbench store`: verification and upgrade of recorded runs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from stampbench.benchmark.cli.common import echo
from stampbench.benchmark.cli.options import DATA_ROOT, RUNS
from stampbench.reports.escape import one_line


@click.group()
def store() -> None:
    """Verify and upgrade recorded runs. The stores of several machines merge by copying one over the other.

    \b
    Example:
      stampbench store check
    """


@store.command()
@RUNS
@click.option("--rerun", metavar="RUN", help="Instead, execute this run again, in a temporary store, and compare")
@DATA_ROOT
def check(runs_folder: Path, rerun: str | None, data_root: Path | None) -> int:
    """Verify every record: schema, id, checksums, network. The exit code is 1 if one is damaged.

    With --rerun, one run is executed again by its own command, and scores, network and charges are compared; the
    exit code is 1 if they differ. --runs may be a folder with published tables. The same result can be expected
    only on the same kind of processor, with the same number of threads.

    \b
    Example:
      rsync -a cluster:runs/ runs/ && stampbench store check
      stampbench store check --runs leaderboards --rerun 1c2e0a4f9b77
    """
    if rerun is not None:
        return _rerun(runs_folder, rerun, data_root)
    from stampbench.benchmark.records.run_store import RunStore
    from stampbench.benchmark.records.verify import verify_store

    recorded = RunStore(runs_folder)
    recorded.check_exists()
    counts = Counter[str]()
    for status in verify_store(recorded):
        counts[status.state] += 1
        if status.state != "finished":
            echo(one_line(f"{status.state}: {status.folder}: {status.text}"))
    echo(", ".join(f"{number} {state}" for state, number in sorted(counts.items())) or "no runs")
    return 1 if counts["damaged"] else 0


@store.command()
@RUNS
def migrate(runs_folder: Path) -> None:
    """Upgrade records of older versions to the present schema.

    \b
    Example:
      stampbench store migrate --runs old-runs
    """
    from stampbench.benchmark.records.migrate import migrate as upgrade
    from stampbench.benchmark.records.run_store import RunStore

    recorded = RunStore(runs_folder)
    recorded.check_exists()
    number = 0
    for line in upgrade(recorded):
        number += 1
        echo(one_line(line))
    if not number:
        echo("nothing to upgrade")


@store.command()
def schema() -> None:
    """Print the reference of all files of a run, as markdown: every key and column with type and unit.

    \b
    Example:
      stampbench store schema > docs/records.md
    """
    from stampbench.benchmark.execution.record_reference import record_reference

    echo(record_reference(), nl=False)


def _rerun(runs_folder: Path, run: str, data_root: Path | None) -> int:
    from stampbench.benchmark.execution.rerun import rerun

    repetition = rerun(runs_folder, run, data_root)
    echo(repetition.compared)
    for line in repetition.differences:
        echo(f"  {line}")
    return 1 if repetition.differences else 0
