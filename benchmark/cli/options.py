"""Options that several commands share, and what they stand for."""

from __future__ import annotations

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from stampbench.benchmark.errors import UserError

if TYPE_CHECKING:
    from stampbench.benchmark.config.resolve import DatasetRequest
    from stampbench.datasets.dataset import Dataset
    from stampbench.datasets.definition import Definition

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
SAVE_EVERY = click.option(
    "--save-every",
    default=10.0,
    show_default=True,
    type=click.FloatRange(0),
    help="Seconds of training that are lost at most when a process is killed",
)
_VIEW = (
    ROOT,
    click.option("--spatial-dims", type=click.Choice(["2", "3"]), help="2 cuts the volumes of a folder into slices"),
    click.option("--subject-pattern", help="Regular expression; its first group in a case id is the subject"),
    click.option("--image-size", metavar="AxBxC", help="Pad and crop, or resize, images to this size"),
    click.option("--patch-size", metavar="AxBxC", help="Train on patches of this size; none: on whole images"),
)


class View(NamedTuple):
    """Where a dataset is looked for, and in what form it is seen; None: as its definition says."""

    data_root: Path | None = None
    spatial_dims: str | None = None
    subject_pattern: str | None = None
    image_size: str | None = None
    patch_size: str | None = None


def dataset_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options of a `View`, which the command gets as `view`."""

    @functools.wraps(command)
    def with_view(**values: Any) -> Any:
        return command(view=View(**{name: values.pop(name) for name in View._fields}), **values)

    for option in reversed(_VIEW):
        with_view = option(with_view)
    return with_view


def find_datasets() -> dict[str, Definition]:
    """The named datasets; installed ones that cannot be added are told and left out."""
    from stampbench.datasets.catalogue import CATALOGUE, discover

    for problem in discover():
        click.echo(f"warning: {problem}", err=True)
    return CATALOGUE


def dataset_choice(text: str, view: View) -> DatasetRequest:
    """A dataset as these options name it."""
    from stampbench.benchmark.config.resolve import DatasetRequest

    form = view._asdict()
    del form["data_root"]
    return DatasetRequest.model_validate({"name": text, **form})


def define_named(text: str, view: View) -> Definition:
    """The definition of a dataset by name or folder."""
    find_datasets()
    return dataset_choice(text, view).define()


def open_named(text: str, view: View) -> Dataset:
    """The dataset that these options name."""
    from stampbench.datasets.dataset import open_dataset

    return open_dataset(define_named(text, view), view.data_root)


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
