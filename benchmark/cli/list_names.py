"""`stampbench list`: names that can be used."""

from __future__ import annotations

from pathlib import Path

import click

from stampbench.benchmark.cli.common import discover_plugins, warn
from stampbench.benchmark.cli.options import PLUGIN


@click.command("list")
@click.argument("what", type=click.Choice(["strategies", "protocols"]), required=False)
@PLUGIN
def list_names(what: str | None, plugins: tuple[Path, ...]) -> None:
    """List strategies, protocols, or both, one per line.

    \b
    Example:
      stampbench list strategies
    """
    if what is None:
        for title, kind in (("Strategies:", "strategies"), ("Protocols:", "protocols")):
            click.echo(title)
            _print(kind, plugins, "  ")
        click.echo("See also: stampbench datasets list, stampbench suite list")
    else:
        _print(what, plugins, "")


def _print(what: str, plugins: tuple[Path, ...], indent: str) -> None:
    lines = _strategies(plugins) if what == "strategies" else _protocols()
    width = max(map(len, lines))
    for name, line in lines.items():
        click.echo(f"{indent}{name:{width}}  {line}")


def _strategies(plugins: tuple[Path, ...]) -> dict[str, str]:
    from stampbench.strategies.errors import StrategyError
    from stampbench.strategies.registry import STRATEGIES

    discover_plugins(plugins)
    lines = {}
    for name, entry in STRATEGIES.items():
        try:
            lines[name] = entry.describe() + (f" [{entry.origin}]" if entry.origin else "")
        except StrategyError as error:
            warn(f"strategy '{name}': {error}")
    return lines


def _protocols() -> dict[str, str]:
    from stampbench.benchmark.config.protocol import PROTOCOLS

    return {name: protocol.summary for name, protocol in PROTOCOLS.items()}
