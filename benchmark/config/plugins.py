"""Plug-ins: strategies, networks, datasets and image formats of packages; strategies and networks of single files."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from stampbench.datasets.catalogue import discover as discover_datasets
from stampbench.models.registry import discover as discover_networks
from stampbench.strategies.registry import discover as discover_strategies
from stampbench.strategies.registry import load_plugin


def discover() -> list[str]:
    """Register the plug-ins of installed packages; return a line for each that cannot be loaded."""
    problems: list[str] = []
    found = (
        ("format", _readers()),
        ("dataset", discover_datasets()),
        ("network", discover_networks()),
        ("strategy", discover_strategies()),
    )
    for kind, lines in found:
        try:
            problems.extend(lines)
        except SystemExit as error:
            problems.append(f"a {kind} plug-in called exit({error}) while it was imported; the others are not loaded")
    return problems


def _readers() -> Iterable[str]:
    if not metadata.entry_points(group="stampbench.readers"):
        return ()  # the libraries of image formats take time to import
    from stampbench.datasets.formats.image_io import discover as discover_readers

    return discover_readers()


def load_plugins(paths: Iterable[Path]) -> None:
    """Register the strategies and networks that Python files define.

    Raises:
        StrategyError, ModelError: when a file cannot be loaded.
    """
    for path in paths:
        load_plugin(path)
