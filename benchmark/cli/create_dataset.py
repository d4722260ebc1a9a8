"""`stampbench datasets create`: a definition file for images and label maps in any layout."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stampbench.benchmark.cli.common import discover_plugins, echo, write_output
from stampbench.benchmark.cli.options import MAX_VOXELS, Form, form_options
from stampbench.benchmark.cli.parsing import parse_names
from stampbench.benchmark.errors import UserError

if TYPE_CHECKING:
    from stampbench.datasets.definition import Definition
    from stampbench.datasets.matching.match import MatchedCase
    from stampbench.datasets.matching.patterns import Patterns


NO_OPTIONS: dict[str, Any] = {
    "classes": (), "structures": (), "channels": None, "priority": None, "resize_labels": False, "spacing": None,
    "ignore": (), "test": None, "licence": "", "citation": "",
}  # fmt: skip
"""Defaults of the options of `create`."""


@click.command()
@click.argument("name")
@click.option(
    "--folder", type=click.Path(path_type=Path), default=Path(), help="Folder of the files  [default: this folder]"
)
@click.option(
    "--images", multiple=True, required=True, metavar="[CHANNEL=]PATTERN", help="Images, for example 'img/{case}.png'"
)
@click.option(
    "--labels",
    multiple=True,
    required=True,
    metavar="[CLASS=]PATTERN",
    help="Label maps; with CLASS=, masks of one class each",
)
@click.option("--class", "classes", multiple=True, metavar="NAME=VALUE,…", help="Label values of a class, repeatable")
@click.option(
    "--structure", "structures", multiple=True, metavar="CLASS=NAME,…", help="Other names of a class in DICOM files"
)
@click.option("--channels", type=click.Choice(["grey", "rgb"]), help="How to read colours  [default: as they are]")
@click.option("--priority", help="Classes that keep contested pixels, the first one first")
@click.option("--resize-labels", is_flag=True, help="Resize label maps of another size to their images")
@click.option("--spacing", metavar="AxBxC", help="Voxel or pixel size in mm, for formats that have none")
@click.option("--ignore", multiple=True, metavar="PATTERN", help="Files to leave out, repeatable")
@click.option("--test", help="Test cases: a file with an id per line, or a pattern of their images")
@click.option("--licence", default="", help="Licence of the images")
@click.option("--citation", default="", help="Publication to cite")
@form_options
@MAX_VOXELS
@click.option("--output", type=click.Path(path_type=Path), help="Definition file  [default: NAME.yaml]")
@click.option("--force", is_flag=True, help="Overwrite an existing definition file")
def create(
    name: str, folder: Path, images: tuple[str, ...], labels: tuple[str, ...], form: Form, output: Path | None,
    force: bool, **options: Any,
) -> None:  # fmt: skip
    """Write a definition file of images and label maps that are used where they are.

    Patterns are relative to the folder. {case} stands for the case id, {subject} for the subject, * for any
    text within a name, **/ for any folders. The file takes the place of a dataset's name in every command.

    \b
    Example:
      stampbench datasets create busi --images 'data/*/{case}.png' \\
                                      --labels 'data/*/{case}_mask*.png' --class tumour=255
    """
    from stampbench.benchmark.config.definition_file import definition_text
    from stampbench.datasets.dataset import open_dataset
    from stampbench.datasets.readers.probe import read_sample
    from stampbench.datasets.split import pool

    discover_plugins()
    output = output or Path(f"{name}.yaml")
    if output.suffix not in (".yaml", ".yml"):
        raise UserError(f"--output '{output}': a definition file ends in .yaml or .yml")
    if output.exists() and not force:
        raise UserError(f"{output} exists", setting="force")
    definition, cases = define_files(name, folder, images, labels, form, options)
    dataset = open_dataset(definition)
    pool(definition, dataset.images)  # checks that the test cases exist
    reader = dataset.reader
    read = read_sample(reader)
    text = definition_text(definition, os.path.relpath(folder.resolve(), output.parent.resolve()))
    write_output(output, text)
    assert definition.patterns is not None
    colour = {"grey": " (equal colours are read as one channel)", "rgb": " (colours)"}.get(
        definition.patterns.colour or "", ""
    )
    echo(f"{output}: {len(cases)} cases of {len({case.subject for case in reader.cases})} subjects")
    echo(f"channels: {', '.join(reader.channels)}{colour}")
    echo(f"classes: {', '.join(reader.classes[1:])}")
    echo(f"read {read} of {len(cases)} cases; next: stampbench datasets check {shlex.quote(str(output))}")


def define_files(
    name: str, folder: Path, images: tuple[str, ...], labels: tuple[str, ...], form: Form, options: dict[str, Any]
) -> tuple[Definition, tuple[MatchedCase, ...]]:
    """Return the definition that options describe, and its cases.

    Args:
        name: its name.
        folder: folder of the files.
        images: patterns of images, with the names of channels.
        labels: patterns of label maps, or of masks with the names of classes.
        form: the form in which networks see it.
        options: values of the other options, as in `NO_OPTIONS`.

    Raises:
        UserError, DatasetError: when options or files do not fit.
    """
    from stampbench.benchmark.config.validated import validated
    from stampbench.datasets.catalogue import CATALOGUE
    from stampbench.datasets.definition import Definition
    from stampbench.datasets.matching.match import match_cases
    from stampbench.datasets.readers.probe import find_channels

    if name in CATALOGUE or not name or set(name) & {"/", "\\", ":"}:
        raise UserError(f"'{name}' is the name of a dataset already, or contains / or :; choose another name")
    if not folder.is_dir():
        raise UserError(f"folder '{folder}' does not exist")
    channels, classes = [_named(each) for each in images], _classes(options["classes"])
    patterns = _patterns(channels, [_named(each) for each in labels], options)
    cases = match_cases(folder.resolve(), patterns)
    if patterns.labels and not classes:
        raise UserError(f"label maps have the values {_values(cases)}, which no class names", setting="classes")
    found = find_channels(cases, [channel for channel, _ in channels])
    if options["channels"] and options["channels"] != found.colour:
        if found.colour is None:
            raise UserError("the images have no colour channels", setting="channels")
        colour = options["channels"]
        names = ("image",) if colour == "grey" else ("red", "green", "blue")
        found = found._replace(colour=colour, names=names)
    request = form.request(name)
    given: dict[str, Any] = {
        "name": name,
        "summary": ", ".join(dict.fromkeys([*classes, *patterns.masks])),
        "folder": str(folder.resolve()),
        "patterns": patterns.model_copy(update={"channels": found.names, "colour": found.colour}),
        "classes": classes or None,
        "test_cases": _test_cases(options["test"], folder.resolve(), cases),
        "split_version": 2,
        "size": request.image_size,
    }
    for key, value in {
        "spatial_dims": request.spatial_dims, "subject_pattern": request.subject_pattern, "fit": request.fit,
        "licence": options["licence"] or None, "citation": options["citation"] or None,
    }.items():  # fmt: skip
        given |= {} if value is None else {key: value}
    if request.patch_size is not None:
        given["patch"] = None if request.patch_size == "none" else request.patch_size
    return validated(Definition, f"dataset '{name}'", given), cases


def _patterns(
    channels: list[tuple[str | None, str]], labels: list[tuple[str | None, str]], options: dict[str, Any]
) -> Patterns:
    from stampbench.benchmark.config.validated import validated
    from stampbench.datasets.matching.patterns import Patterns

    masks = [name for name, _ in labels if name is not None]
    if twice := sorted({name for name in masks if masks.count(name) > 1}):
        raise UserError(f"class '{twice[0]}' has two patterns of masks; make one pattern match both")
    return validated(
        Patterns,
        "patterns",
        {
            "images": [pattern for _, pattern in channels],
            "labels": [pattern for name, pattern in labels if name is None],
            "masks": {name: pattern for name, pattern in labels if name is not None},
            "priority": parse_names(options["priority"] or ""),
            "resize_labels": options["resize_labels"],
            "spacing": options["spacing"] and options["spacing"].replace("x", ",").split(","),
            "ignore": options["ignore"],
            "structures": _structures(options["structures"]),
        },
    )


def _named(text: str) -> tuple[str | None, str]:
    """Return the name and the pattern of `NAME=PATTERN`; a pattern alone has no name."""
    name, equals, pattern = text.partition("=")
    return (name.strip(), pattern) if equals and not set(name) & set("/{}*?") else (None, text)


def _classes(texts: tuple[str, ...]) -> dict[str, tuple[int, ...]]:
    classes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        name, equals, values = text.partition("=")
        parts = parse_names(values)
        if not equals or not name.strip() or not parts or not all(part.isdecimal() and int(part) for part in parts):
            raise UserError(f"--class takes NAME=VALUE or NAME=VALUE,VALUE with values above 0, not '{text}'")
        if name.strip() in (*classes, "background"):
            taken = "is named twice; write its values in one option" if name.strip() in classes else "is value 0"
            raise UserError(f"--class '{text}': '{name.strip()}' {taken}")
        classes[name.strip()] = tuple(map(int, parts))
    return classes


def _structures(texts: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    structures = {}
    for text in texts:
        name, equals, names = text.partition("=")
        if not equals or not name.strip() or not parse_names(names):
            raise UserError(f"--structure takes CLASS=NAME or CLASS=NAME,NAME, not '{text}'")
        structures[name.strip()] = tuple(parse_names(names))
    return structures


def _values(cases: tuple[MatchedCase, ...]) -> str:
    from stampbench.datasets.readers.probe import values_of

    found = values_of([path for case in cases for path, _ in case.labels])
    return ", ".join(map(str, found[:10])) + (", …" if len(found) > 10 else "")


def _test_cases(text: str | None, folder: Path, cases: tuple[MatchedCase, ...]) -> tuple[str, ...]:
    """Return the ids of the test cases that a file lists, or whose images a pattern matches."""
    from stampbench.datasets.matching.match import matching

    if text is None:
        return ()
    if Path(text).is_file():
        try:
            lines = Path(text).read_text().splitlines()
        except UnicodeDecodeError as error:
            raise UserError(f"--test {text}: not UTF-8 text ({error.reason} at byte {error.start})") from None
        listed = tuple(dict.fromkeys(line.strip() for line in lines if line.strip()))
        if not listed:
            raise UserError(f"--test {text}: lists no case")
        return listed
    paths = {case.images[0].relative_to(folder).as_posix(): case.id for case in cases}
    chosen = matching(text, list(paths))
    found = tuple(id for path, id in paths.items() if path in chosen)
    if not found:
        raise UserError(f"--test '{text}' is neither a file nor a pattern that matches an image")
    return found
