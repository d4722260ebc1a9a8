"""Steps that several commands share: plug-ins, reading records, writing output."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from stampbench.benchmark.cli.colour import coloured
from stampbench.benchmark.cli.options import RecordFilter
from stampbench.benchmark.errors import UserError, hint, unknown
from stampbench.reports.escape import one_line, terminal

if TYPE_CHECKING:
    import pandas as pd

    from stampbench.benchmark.records.tables import Records


_MOST_WARNINGS = 10
"""Most damaged records that are named one by one."""


def warn(text: str) -> None:
    """Print a warning."""
    click.echo(f"{coloured('warning:', 'yellow')} {one_line(text)}", err=True)


def warn_skipped(problems: Sequence[str]) -> None:
    """Print a warning for each damaged record; the last of many are counted."""
    for problem in problems[:_MOST_WARNINGS]:
        warn(f"skipped: {problem}")
    if len(problems) > _MOST_WARNINGS:
        warn(f"skipped: {len(problems) - _MOST_WARNINGS:,} more")


def echo(text: str, *, err: bool = False, nl: bool = True) -> None:
    """Print text that may come from files of other people; a terminal does not act on any of it.

    Args:
        text: the text, of one or several lines.
        err: whether it goes to the error output.
        nl: whether a line break follows.
    """
    click.echo(terminal(text), err=err, nl=nl)


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Collect no reference cycles while tables are made: there are few, and the search takes a sixth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def discover_plugins(files: tuple[Path, ...] = ()) -> None:
    """Register installed plug-ins and those of files; warn of installed ones that cannot be loaded.

    Raises:
        StrategyError: when a file cannot be loaded.
    """
    from stampbench.benchmark.config import plugins

    for problem in plugins.discover():
        warn(problem)
    plugins.load_plugins(files)


def write_output(path: Path, text: str) -> None:
    """Write a file completely or not at all; a device or pipe such as `/dev/stdout` is written to.

    Raises:
        UserError: when it cannot be written.
    """
    from stampbench.datasets.atomic_file import write_text

    try:
        target = path.resolve()
        if target.exists() and not target.is_file():
            target.write_text(text)
        else:
            write_text(target, text)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


def _name_of(dataset: str | None) -> str | None:
    """Return the name that records have of a dataset: `run` takes paths and parameters, too."""
    from stampbench.benchmark.config.dataset_request import find_definition

    if dataset is None or not (set(dataset) & {os.sep, ":"} or dataset.endswith((".yaml", ".yml"))):
        return dataset
    return find_definition(dataset).name


def read_chosen(runs_folder: Path, chosen: RecordFilter, *, trajectories: bool = True) -> Records:
    """Read the finished runs that options choose; damaged records are reported and skipped.

    Args:
        runs_folder: store, or folder of published tables.
        chosen: which runs.
        trajectories: whether trajectories are read.

    Raises:
        UserError: when there are none, or none of a strategy, or a label is not possible.
    """
    from stampbench.benchmark.records.tables import read_records

    problems: list[str] = []
    records = read_records(runs_folder, problems, trajectories=trajectories)
    warn_skipped(problems)
    runs = records.runs
    if runs.empty:
        raise UserError(f"no finished runs at {runs_folder}")
    wanted, which = {"dataset": _name_of(chosen.dataset), "n_train": chosen.n_train, "protocol": chosen.protocol}, ""
    for column, value in wanted.items():
        if value is not None:
            which += f"{', ' if which else ''}{column.replace('_', '-')} '{value}'"
            known = sorted(set(runs[column]))
            runs = runs[runs[column] == value]
            if runs.empty:
                text = value if isinstance(value, str) else ""  # of numbers none is the nearest in spelling
                raise UserError(f"no finished runs of {which} at {runs_folder}; {hint(text, map(str, known))}")
    if chosen.labels:
        runs = _labelled(runs, chosen.labels)
    known = sorted(set(runs["strategy"]))
    for each in chosen.strategies:
        if each not in known:
            raise unknown("strategy", each, known)
    return records.of(runs[runs["strategy"].isin(chosen.strategies)] if chosen.strategies else runs)


def _labelled(runs: pd.DataFrame, labels: tuple[str, ...]) -> pd.DataFrame:
    """Return runs whose strategies have labels of the user; each is `NAME=LABEL`, and names may contain `=`, too.

    Raises:
        UserError: when no strategy has the name, a label is empty, or rows of a leaderboard would have the same one.
    """
    known, names = sorted(set(runs["strategy"])), dict[str, str]()
    for text in labels:
        if "=" not in text:
            raise UserError(f"--label '{text}': allowed is NAME=LABEL")
        name = max((each for each in known if text.startswith(f"{each}=")), key=len, default=None)
        if name is None:
            raise unknown("strategy of --label", text.rpartition("=")[0] or text, known)
        names[name] = text.removeprefix(f"{name}=").strip()
        if not names[name]:
            raise UserError(f"--label '{text}': the label is empty; allowed is NAME=LABEL")
    labelled = runs["strategy"].replace(names)
    called = runs[["group", "strategy"]].drop_duplicates().assign(label=labelled)
    clashes = called.loc[called.duplicated(["group", "label"]), "label"]
    if len(clashes):
        raise UserError(f"--label: several strategies of a leaderboard would be called '{clashes.iloc[0]}'")
    return runs.assign(strategy=labelled)
