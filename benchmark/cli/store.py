"""`stampbench store`: whether records are whole, and what to do with old ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from stampbench.benchmark.cli.options import RUNS
from stampbench.benchmark.errors import UserError


@click.group()
def store() -> None:
    """Look after recorded runs. Stores of several machines merge by copying one over the other.

    \b
    Example:
      stampbench store check
    """


@store.command()
@RUNS
def check(runs_folder: Path) -> int:
    """Verify every record: schema, id, checksums, network. Ends with exit code 1 when one is damaged.

    \b
    Example:
      rsync -a cluster:runs/ runs/ && stampbench store check
    """
    from stampbench.benchmark.records.run_store import RunStore
    from stampbench.benchmark.records.verify import verify_store

    _exists(runs_folder)
    counts = Counter[str]()
    for finding in verify_store(RunStore(runs_folder)):
        counts[finding.state] += 1
        if finding.state != "finished":
            click.echo(f"{finding.state}: {finding.folder}: {finding.text}")
    click.echo(", ".join(f"{number} {state}" for state, number in sorted(counts.items())) or "no runs")
    return 1 if counts["damaged"] else 0


@store.command()
@RUNS
def migrate(runs_folder: Path) -> None:
    """Lift records of older versions to the present schema.

    \b
    Example:
      stampbench store migrate --runs old-runs
    """
    from stampbench.benchmark.records import verify
    from stampbench.benchmark.records.run_store import RunStore

    _exists(runs_folder)
    number = 0
    for line in verify.migrate(RunStore(runs_folder)):
        number += 1
        click.echo(line)
    if not number:
        click.echo("nothing to lift")


def _exists(folder: Path) -> None:
    if not folder.is_dir():
        raise UserError(f"no runs at {folder}; --runs takes the folder that 'stampbench run' wrote")
