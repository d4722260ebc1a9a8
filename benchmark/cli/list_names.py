"""`stampbench list`: names that can be used."""

from __future__ import annotations

from pathlib import Path

import click

from stampbench.benchmark.cli.common import discover_plugins, echo, warn
from stampbench.benchmark.cli.options import PLUGIN
from stampbench.benchmark.cli.tables import TableStyle, print_rows, table_options
from stampbench.benchmark.errors import UserError


@click.command("list")
@click.argument("what", type=click.Choice(["strategies", "networks", "protocols"]), required=False)
@click.option("--sizes", is_flag=True, help="A Markdown table of the networks' sizes and of what they support")
@table_options
@PLUGIN
def list_names(what: str | None, sizes: bool, table: TableStyle, plugins: tuple[Path, ...]) -> None:
    """List strategies, networks, protocols, or all of them, one per line.

    \b
    Example:
      stampbench list strategies
      stampbench list strategies --format csv --columns name
    """
    if sizes:
        if what != "networks":
            raise UserError("only networks have sizes; run 'stampbench list networks --sizes'")
        from stampbench.benchmark.measure.network_table import network_table

        echo(network_table(describe(what, plugins).items()))
        return
    kinds = [what] if what else ["strategies", "networks", "protocols"]
    lines = {kind: _protocols() if kind == "protocols" else describe(kind, plugins) for kind in kinds}
    rows = {kind.capitalize() if what is None else "": [*lines[kind].items()] for kind in kinds}
    print_rows({"name": "name", "description": "description"}, rows, table)
    if what is None and table.format_for() == "short":
        click.echo("See also: stampbench datasets list, stampbench suite list")


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
