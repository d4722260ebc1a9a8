"""`stampbench list`: names that can be used."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stampbench.benchmark.cli.common import discover_plugins, echo, warn
from stampbench.benchmark.cli.options import PLUGIN
from stampbench.benchmark.cli.tables import TableStyle, print_grid, print_listings, table_options
from stampbench.benchmark.errors import UserError
from stampbench.reports.escape import markdown

if TYPE_CHECKING:
    from stampbench.reports.listing import Listing


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
    titles = {kind: f"{kind.capitalize()}" if what is None else "" for kind in kinds}
    if table.plain and table.format_for() in ("short", "md"):
        for kind in kinds:
            _print(titles[kind], lines[kind], table.format_for())
    else:
        print_listings([_listing(titles[kind], lines[kind]) for kind in kinds], table)
    if what is None and table.format_for() == "short":
        click.echo("See also: stampbench datasets list, stampbench suite list")


def _print(title: str, lines: Mapping[str, str], style: str) -> None:
    """Print names with descriptions; it imports no pandas, which takes longer than everything else here."""
    from tabulate import tabulate

    rows = [[name, line] for name, line in lines.items()]
    if style == "short":
        print_grid([("name", True), ("description", True)], rows, title=title)
        return
    cells = [[markdown(cell) for cell in row] for row in rows]
    heading = f"### {title}\n\n" if title else ""
    echo(f"{heading}{tabulate(cells, ['name', 'description'], tablefmt='github', disable_numparse=True)}")
    if title:
        echo("")


def _listing(title: str, lines: Mapping[str, str]) -> Listing:
    import pandas as pd

    from stampbench.reports.listing import Listing

    rows = pd.DataFrame(lines.items(), columns=["name", "description"])
    return Listing(title, rows, rows, {"name": "name", "description": "description"}, ("name", "description"))


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
