"""`stampbench new-network`: a network to start from."""

from __future__ import annotations

import shlex
from pathlib import Path

import click


@click.command("new-network")
@click.argument("name")
@click.option("--output", type=click.Path(path_type=Path), default=Path(), help="Folder  [default: here]")
def new_network(name: str, output: Path) -> None:
    """Write an example network and its test, which passes.

    \b
    Example:
      stampbench new-network my_net
    """
    from stampbench.benchmark.config.network_template import write_network

    file, test = write_network(name, output)
    click.echo(f"wrote {file} and {test}")
    click.echo(f"next: pytest {shlex.quote(str(test))}")
    click.echo(
        f"      stampbench run --plugin {file} --strategy stamp_plus --network {name} --dataset phantom2d --folds 0 "
        "--protocol quick"
    )
