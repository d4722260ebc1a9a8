"""`stampbench doctor`: what this machine has, and what is missing."""

from __future__ import annotations

from pathlib import Path

import click

from stampbench.benchmark.cli.common import discover_plugins
from stampbench.benchmark.cli.options import DATA_ROOT


@click.command()
@DATA_ROOT
@click.option("--issue", is_flag=True, help="Print a block to paste into an issue, without paths")
def doctor(data_root: Path | None, issue: bool) -> None:
    """Show what this machine has, what is missing, and how to get it.

    \b
    Example:
      stampbench doctor
      stampbench doctor --issue
    """
    from stampbench.benchmark.environment.diagnostics import diagnose, issue_block
    from stampbench.datasets.preparation.cache import cache_folder

    discover_plugins()
    diagnoses = diagnose(data_root, cache_folder())
    if issue:
        click.echo(issue_block(diagnoses))
        return
    for each in diagnoses:
        advice = f"  → {each.advice}" if each.advice else ""
        click.echo(f"{each.item:20} {each.state}{advice}")
