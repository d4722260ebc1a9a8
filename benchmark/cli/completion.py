"""Shell completion of names: strategies, networks, datasets, protocols, suites and runs."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path

import click

_SPECIAL = re.compile(r"[^\w@%+=:,./-]")
"""Characters that a shell acts on."""
_MOST_RUNS = 2000
"""Runs that are offered at most, so that completion answers at once."""

Complete = Callable[[click.Context, click.Parameter, str], list[str]]


def _matching(names: Callable[[click.Context], Iterable[str]], *, lists: bool = False) -> Complete:
    """Return a function for click that offers the names that begin with what was typed.

    Args:
        names: returns all names.
        lists: whether several names may be separated by commas.
    """

    def complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
        before, comma, last = incomplete.rpartition(",") if lists else ("", "", incomplete)
        try:
            return [_typed(f"{before}{comma}{name}") for name in names(context) if name.startswith(last)]
        except (OSError, ValueError):  # completion prints no errors
            return []

    return complete


def _typed(name: str) -> str:
    """Return a name as somebody types it: bash does not escape what it completes, other shells do.

    The function that click gives to bash reads the names, and drops every first backslash.
    """
    bash = os.environ.get("_STAMPBENCH_COMPLETE") == "bash_complete"
    return _SPECIAL.sub(r"\\\\\g<0>", name) if bash else name


def _strategies(_: click.Context) -> Iterable[str]:
    from stampbench.strategies.registry import STRATEGIES

    return list(STRATEGIES)


def _networks(_: click.Context) -> Iterable[str]:
    from stampbench.models.registry import DEFAULT, NETWORKS

    return [DEFAULT, *NETWORKS]


def _datasets(_: click.Context) -> Iterable[str]:
    from stampbench.datasets.catalogue import CATALOGUE

    return list(CATALOGUE)


def _protocols(_: click.Context) -> Iterable[str]:
    from stampbench.benchmark.config.protocol import PROTOCOLS

    return list(PROTOCOLS)


def _suites(_: click.Context) -> Iterable[str]:
    from stampbench.benchmark.config.suite_file import suite_names

    return suite_names()


def _recorded(column: str) -> Callable[[click.Context], Iterable[str]]:
    """Return a function that lists what a store or published tables hold: ids of runs, or another column.

    A store is not read: its folders have the names of datasets, strategies and runs.
    """

    def names(context: click.Context) -> list[str]:
        root = Path(context.params.get("runs_folder") or "runs")
        if (root / "runs.csv").is_file():
            with (root / "runs.csv").open(newline="") as file:
                return sorted({row[column] for row in csv.DictReader(file)})[:_MOST_RUNS]
        depth = {"dataset": 0, "strategy": 1}.get(column, 2)
        paths = (path.parent.relative_to(root).parts for path in root.glob("*/*/*/run.json"))
        return sorted({parts[depth] for parts in paths})[:_MOST_RUNS]

    return names


def _recorded_protocols(context: click.Context) -> Iterable[str]:
    """List the protocols of published tables; a store would have to be read, so that all known names are offered."""
    published = Path(context.params.get("runs_folder") or "runs") / "runs.csv"
    return _recorded("protocol")(context) if published.is_file() else _protocols(context)


def _either(*sources: Callable[[click.Context], Iterable[str]]) -> Callable[[click.Context], Iterable[str]]:
    return lambda context: dict.fromkeys(name for source in sources for name in source(context))


STRATEGY = _matching(_strategies, lists=True)
NETWORK = _matching(_networks, lists=True)
DATASET = _matching(_datasets)
PROTOCOL = _matching(_protocols)
SUITE = _matching(_suites)
RUN = _matching(_recorded("run"))
RECORDED_STRATEGY = _matching(_recorded("strategy"))
RECORDED_DATASET = _matching(_recorded("dataset"))
RECORDED_PROTOCOL = _matching(_recorded_protocols)
STRATEGY_OR_RUN = _matching(_either(_recorded("strategy"), _recorded("run")))
