"""`stampbench new-strategy`: a strategy to start from."""

from __future__ import annotations

import shlex
from pathlib import Path

import click


@click.command("new-strategy")
@click.argument("name")
@click.option("--output", type=click.Path(path_type=Path), default=Path(), help="Folder  [default: here]")
def new_strategy(name: str, output: Path) -> None:
    """Write an example strategy and its test, which passes.

    \b
    Example:
      stampbench new-strategy my_idea
    """
    from stampbench.benchmark.config.strategy_template import write_strategy

    file, test = write_strategy(name, output)
    click.echo(f"wrote {file} and {test}")
    click.echo(f"next: pytest {shlex.quote(str(test))}")
    click.echo(f"      stampbench run --plugin {file} --strategy {name} --dataset phantom2d --folds 0 --protocol quick")
