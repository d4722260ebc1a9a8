"""Plug-ins: strategies and datasets of installed packages, and strategies of single files."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from stampbench.datasets.catalogue import discover as discover_datasets
from stampbench.strategies.registry import discover as discover_strategies
from stampbench.strategies.registry import load_plugin


def discover() -> list[str]:
    """Register the plug-ins of installed packages; return a line for each that cannot be loaded."""
    problems: list[str] = []
    for kind, lines in (("dataset", discover_datasets()), ("strategy", discover_strategies())):
        try:
            problems.extend(lines)
        except SystemExit as error:
            problems.append(f"a {kind} plug-in called exit({error}) while it was imported; the others are not loaded")
    return problems


def load_plugins(paths: Iterable[Path]) -> None:
    """Register the strategies that Python files define.

    Raises:
        StrategyError: when a file cannot be loaded.
    """
    for path in paths:
        load_plugin(path)
