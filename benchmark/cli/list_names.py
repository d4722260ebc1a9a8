"""`stampbench list`: names that can be used."""

from __future__ import annotations

from pathlib import Path

import click

from stampbench.benchmark.cli.common import discover_plugins, warn
from stampbench.benchmark.cli.options import PLUGIN


@click.command("list")
@click.argument("what", type=click.Choice(["strategies", "networks", "protocols"]), required=False)
@PLUGIN
def list_names(what: str | None, plugins: tuple[Path, ...]) -> None:
    """List strategies, networks, protocols, or all of them, one per line.

    \b
    Example:
      stampbench list strategies
    """
    if what is None:
        for kind in ("strategies", "networks", "protocols"):
            click.echo(f"{kind.capitalize()}:")
            _print(kind, plugins, "  ")
        click.echo("See also: stampbench datasets list, stampbench suite list")
    else:
        _print(what, plugins, "")


def _print(what: str, plugins: tuple[Path, ...], indent: str) -> None:
    lines = _protocols() if what == "protocols" else describe(what, plugins)
    width = max(map(len, lines))
    for name, line in lines.items():
        click.echo(f"{indent}{name:{width}}  {line}")


def describe(what: str, plugins: tuple[Path, ...] = ()) -> dict[str, str]:
    """Return a line about each of the strategies or networks by its name; warn of those that cannot be loaded."""
    from stampbench.models.registry import DEFAULT, NETWORKS
    from stampbench.strategies.registry import STRATEGIES

    discover_plugins(plugins)
    unet = {DEFAULT: "U-Net with the strategy's f, depth and convs_per_level (Dinsdale et al. 2022, Fig. 3)"}
    lines = unet if what == "networks" else {}
    for name, entry in (NETWORKS if what == "networks" else STRATEGIES).items():
        try:
            lines[name] = entry.describe() + (f" [{entry.origin}]" if entry.origin else "")
        except entry.error as error:
            warn(f"{entry.kind} '{name}': {error}")
    return lines


def _protocols() -> dict[str, str]:
    from stampbench.benchmark.config.protocol import PROTOCOLS

    return {name: protocol.summary for name, protocol in PROTOCOLS.items()}
