"""`stampbench doctor`: what this machine has, and what is missing."""

from __future__ import annotations

from pathlib import Path

import click

from stampbench.benchmark.cli.common import discover_plugins
from stampbench.benchmark.cli.options import DATA_ROOT


@click.command()
@DATA_ROOT
def doctor(data_root: Path | None) -> None:
    """Show what this machine has, what is missing, and how to get it.

    \b
    Example:
      stampbench doctor
    """
    from stampbench.benchmark.environment.diagnostics import diagnose
    from stampbench.datasets.cache import cache_folder

    discover_plugins()
    for each in diagnose(data_root, cache_folder()):
        advice = f"  → {each.advice}" if each.advice else ""
        click.echo(f"{each.item:20} {each.state}{advice}")
