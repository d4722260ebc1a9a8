"""`stampbench datasets inspect`: what an unknown folder contains, and the command that makes a dataset of it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stampbench.benchmark.cli.common import discover_plugins, echo
from stampbench.benchmark.cli.create_dataset import NO_OPTIONS, define_files
from stampbench.benchmark.cli.hints import hint
from stampbench.benchmark.cli.options import MAX_VOXELS, Form
from stampbench.benchmark.errors import UserError
from stampbench.datasets.errors import DatasetError

if TYPE_CHECKING:
    from stampbench.datasets.definition import Definition
    from stampbench.datasets.inspection.folder import GroupFacts, Guess

_SHOWN = 12
"""Most groups of files that are listed."""
_PANELS = 6


@click.command()
@click.argument("folder", type=click.Path(path_type=Path))
@click.option("--picture", type=click.Path(path_type=Path), help="Picture of six cases  [default: in the cache folder]")
@MAX_VOXELS
def inspect(folder: Path, picture: Path | None) -> int:
    """Guess the images and label maps of a folder, and print the 'create' command that says the same.

    The names of all files and a sample of their content are looked at. What is not certain is asked.

    \b
    Example:
      stampbench datasets inspect ./BUSI
    """
    if not folder.is_dir():
        raise UserError(f"folder '{folder}' does not exist")
    if (folder / "dataset.json").is_file():
        echo(f"{folder}: has a dataset.json, as folders of the Decathlon and of nnU-Net v2 have")
        echo(f"next: stampbench datasets check {shlex.quote(str(folder))}")
        return 0
    discover_plugins()
    from stampbench.datasets.inspection.folder import inspect as look

    facts, guess = look(folder)
    for each in facts[:_SHOWN]:
        echo(_line(each))
    if len(facts) > _SHOWN:
        echo(f"… and {len(facts) - _SHOWN} more groups of files")
    if guess is None:
        echo("question: which files are label maps? None have few values and the names of most images")
        return 1
    return _propose(folder, guess, picture)


def _propose(folder: Path, guess: Guess, picture: Path | None) -> int:
    alternatives = [list(guess.labels)] if guess.structures else [[each] for each in guess.labels]
    total = len(guess.images.group.files)
    for each in guess.labels:
        complete = guess.covered(each) == total == len(each.group.files)
        sure = "sure" if len(alternatives) == 1 and complete else "not sure"
        pair = f"{each.group.pattern} belong to {guess.images.group.pattern}"
        echo(f"{sure}: label maps {pair}, for {guess.covered(each)} of {total} images")
    if len(alternatives) > 1:
        echo(f"question: which of {len(alternatives)} groups are the label maps? The commands are in this order")
    name = re.sub(r"[^a-z0-9]+", "_", folder.resolve().name.lower()).strip("_") or "dataset"
    problems = []
    for number, labels in enumerate(alternatives):
        options = _options(guess, labels)
        if options["ignore"]:
            echo(f"without a partner, to be ignored: {', '.join(options['ignore'])}")
        try:
            overlap = _try(name, folder, options, picture, draw=number == 0)
            if overlap is not None:
                echo(f"question: which classes keep the voxels that several claim? {overlap}")
                options["priority"] = ",".join(_smallest_first(options, labels))
                _try(name, folder, options, picture, draw=True)
        except ValueError as error:  # UserError and DatasetError
            problems.append(f"problem: {error}{hint(getattr(error, 'setting', None))}")
        words = ["stampbench", "datasets", "create", name, "--folder", str(folder), *_words(options)]
        echo(f"next: {shlex.join(words)}")
    for problem in problems:
        echo(problem)
    return 1 if problems else 0


def _try(name: str, folder: Path, options: dict[str, Any], picture: Path | None, *, draw: bool) -> str | None:
    """Define a dataset and draw some of its cases; return how classes overlap if they do, else None.

    Args:
        name: its name.
        folder: folder of the files.
        options: options of `create`.
        picture: file of the picture; None: in the cache folder.
        draw: whether cases are read and drawn.

    Raises:
        UserError, DatasetError: when the files do not fit the options in another way.
    """
    others = {key: value for key, value in options.items() if key not in ("images", "labels")}
    definition, _ = define_files(name, folder, options["images"], options["labels"], Form(), others)
    try:
        if draw:
            echo(_draw(definition, picture))
    except DatasetError as error:
        if error.setting != "priority" or options["priority"]:
            raise
        return str(error)
    return None


def _smallest_first(options: dict[str, Any], labels: Sequence[GroupFacts]) -> list[str]:
    """Return classes in a likely order: a small structure lies on top of a large one, and a high value on a low one."""
    if options["classes"]:
        return [each.partition("=")[0] for each in reversed(options["classes"])]
    if labels[0].structures:
        return [named.partition("=")[0] for named in reversed(options["labels"])]
    shares = zip(labels, options["labels"], strict=True)
    return [named.partition("=")[0] for _, named in sorted(shares, key=lambda each: each[0].foreground)]


def _line(facts: GroupFacts) -> str:
    """Return a line about a group of files."""
    if facts.structures or facts.others:
        some = f"; {', '.join(facts.others)} in some of them only" if facts.others else ""
        named = ", ".join(facts.structures) or "none in all"
        return f"{facts.group.pattern}: {len(facts.group.files)} cases, structures {named}{some}"
    sizes = ["×".join(map(str, size)) for size in (facts.sizes[0], facts.sizes[-1])]
    channels = "three equal channels" if facts.coloured and facts.channels == (1,) else ""
    channels = channels or f"{' or '.join(map(str, facts.channels))} channel{'s' if facts.channels != (1,) else ''}"
    values = f"{facts.lowest:g} to {facts.highest:g}"
    if facts.values:
        values = f"{', '.join(map(str, facts.values))} ({facts.foreground:.0%} not 0)"
    size = sizes[0] if sizes[0] == sizes[1] else f"{sizes[0]} to {sizes[1]}"
    return f"{facts.group.pattern}: {len(facts.group.files)} cases, {size}, {channels}, values {values}"


def _options(guess: Guess, labels: Sequence[GroupFacts]) -> dict[str, Any]:
    """Return the options of `create` that make a dataset of these files."""
    from stampbench.datasets.inspection.folder import class_values, structure_names

    images = guess.images.group
    options = NO_OPTIONS | {"images": (images.pattern,), "labels": tuple(each.group.pattern for each in labels)}
    if labels[0].structures:
        named = {re.sub(r"[/{}*?=,]+", "-", name): name for name in labels[0].structures}
        options["labels"] = tuple(f"{name}={labels[0].group.pattern}" for name in named)
        options["structures"] = tuple(f"{name}={own}" for name, own in named.items() if name != own)
    elif guess.structures:
        by_folder = zip(structure_names(labels), labels, strict=True)
        options["labels"] = tuple(f"{name}={each.group.pattern}" for name, each in by_folder)
    else:
        options["classes"] = tuple(f"{name}={value}" for name, value in class_values(labels[0]).items())
    options["resize_labels"] = any(each.sizes and not set(each.sizes) & set(guess.images.sizes) for each in labels)
    cases = set(images.files)
    stray = {case: paths for each in labels for case, paths in each.group.files.items() if case not in cases}
    complete = cases.intersection(*(each.group.files for each in labels))
    stray |= {case: images.files[case] for case in cases - complete}
    folders = {path.split("/")[0] for case in complete for path in images.files[case]}
    test = [each for each in folders if each.lower() in ("test", "testing")]
    if test and images.pattern.startswith("*/"):
        options["test"] = images.pattern.replace("*", test[0], 1)
    groups = (images, *(each.group for each in labels))
    used = {path for case in complete for group in groups for path in group.files[case]}
    options["ignore"] = _ignore({path for paths in stray.values() for path in paths} - used, used)
    return options


def _ignore(stray: set[str], used: set[str]) -> tuple[str, ...]:
    """Return patterns of files without a partner: whole folders where nothing else is, else the files."""
    parents = {path.rpartition("/")[0] for path in used}
    patterns = set()
    for path in stray:
        parent = path.rpartition("/")[0]
        escaped = re.sub(r"([*?[])", r"[\1]", parent if parent and parent not in parents else path)
        patterns.add(f"{escaped}/*" if parent and parent not in parents else escaped)
    return tuple(sorted(patterns))


def _words(options: dict[str, Any]) -> list[str]:
    """Return options of `create` as words of a command line."""
    names = {
        "images": "--images",
        "labels": "--labels",
        "classes": "--class",
        "structures": "--structure",
        "priority": "--priority",
        "ignore": "--ignore",
        "test": "--test",
    }
    words = []
    for key, option in names.items():
        given = options[key] or ()
        for value in (given,) if isinstance(given, str) else given:
            words += [option, value]
    return [*words, *(["--resize-labels"] if options["resize_labels"] else [])]


def _draw(definition: Definition, picture: Path | None) -> str:
    """Draw six cases as networks would see them; return a line about the picture."""
    import numpy as np

    from stampbench.datasets.atomic_file import whole_file
    from stampbench.datasets.dataset import open_reader
    from stampbench.datasets.preparation.cache import cache_folder
    from stampbench.datasets.preparation.preprocessing_config import PreprocessingConfig
    from stampbench.datasets.quality.overview import panel
    from stampbench.datasets.readers.probe import read_sample
    from stampbench.reports.overlays import write_overview

    reader, _ = open_reader(definition)
    read_sample(reader)
    cases = [reader.cases[int(at)] for at in sorted(set(np.linspace(0, len(reader.cases) - 1, _PANELS).round()))]
    config = PreprocessingConfig.of(definition, [reader.shape(case) for case in cases])
    path = picture or cache_folder() / definition.name / "inspect.png"
    try:
        with whole_file(path) as unfinished:
            write_overview(unfinished, [panel(case.id, reader.read(case), config) for case in cases], reader.classes)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error
    return f"wrote {path}: {len(cases)} cases with the outlines of their label maps"
