"""Options that several commands share, and what they stand for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from stampbench.benchmark.errors import UserError

if TYPE_CHECKING:
    from stampbench.datasets.dataset import Dataset

_Command = TypeVar("_Command", bound=Callable[..., Any])

ROOT = click.option(
    "--data-root",
    envvar="STAMPBENCH_DATA",
    type=click.Path(path_type=Path),
    help="Folder that holds the named datasets' folders  [env: STAMPBENCH_DATA]",
)
RUNS = click.option(
    "--runs",
    "runs_folder",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Record store",
)
PLUGIN = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Python file with strategies in the making, repeatable",
)
DEVICE = click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps")
THREADS = click.option("--threads", type=click.IntRange(1), help="CPU threads  [default: one per core]")
_DATASET = (
    click.option("--spatial-dims", type=click.Choice(["2", "3"]), help="2 cuts the volumes of a folder into slices"),
    click.option("--subject-pattern", help="Regular expression; its first group in a case id is the subject"),
)


def dataset_options(command: _Command) -> _Command:
    """`--spatial-dims` and `--subject-pattern`."""
    for option in reversed(_DATASET):
        command = option(command)
    return command


def open_named(text: str, data_root: Path | None, spatial_dims: str | None, subject_pattern: str | None) -> Dataset:
    """The dataset that these options name."""
    from stampbench.benchmark.choices import choose_dataset
    from stampbench.datasets.dataset import open_dataset

    definition = choose_dataset(text, None if spatial_dims is None else int(spatial_dims), subject_pattern)
    return open_dataset(definition, data_root)


def load_plugins(plugins: tuple[Path, ...]) -> None:
    """Installed ones that cannot be loaded are told and left out; a file that was asked for has to work."""
    from stampbench.strategies.registry import discover, load_plugin

    for problem in discover():
        click.echo(f"warning: {problem}", err=True)
    for path in plugins:
        load_plugin(path)


def write_output(path: Path, text: str) -> None:
    """Write what `--output` asks for.

    Raises:
        UserError: it cannot be written.
    """
    try:
        path.write_text(text)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def cache_folder() -> Path:
    """Where prepared cases are kept."""
    from platformdirs import user_cache_path

    return Path(os.environ.get("STAMPBENCH_CACHE") or user_cache_path("stampbench"))
