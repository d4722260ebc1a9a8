"""Dataset cards: a page about a dataset, made from its definition alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from stampbench.benchmark.cli.dataset_text import form

if TYPE_CHECKING:
    from stampbench.datasets.definition import Definition


def dataset_card(definition: Definition) -> str:
    """Return the card of a dataset as markdown; it is the same whether or not the data is on this machine."""
    rows = [f"| {key} | {_cell(value)} |" for key, value in _facts(definition)]
    parts = [
        f"# {definition.name}",
        f"{definition.summary[:1].upper()}{definition.summary[1:]}.",
        "\n".join(["| | |", "|---|---|", *rows]),
    ]
    if definition.obtain:
        obtain = f"{definition.obtain[:1].upper()}{definition.obtain[1:]}.".replace("*", r"\*")
        parts += ["## How to get it", obtain]
    if definition.layout:
        lines = "\n".join(f"    {line}" for line in definition.layout.splitlines())
        parts += ["## Files below the data root", lines]
    name = definition.source or definition.name
    parts += [
        "## Commands",
        f"    stampbench datasets show {name}\n    stampbench datasets check {name}\n"
        f"    stampbench run --strategy standard,stamp_plus --dataset {name} --n-train 25 --folds 0 --protocol quick",
    ]
    return "\n\n".join(parts) + "\n"


def _facts(definition: Definition) -> Iterator[tuple[str, str]]:
    """Yield names and values of a card's table."""
    archive = definition.archive
    yield "version", definition.version
    yield "arrives as", definition.arrival
    if archive is not None:
        yield "archive", archive.url
        yield "MD5 checksum", archive.md5 or "none known; a download is not verified"
    yield "licence", definition.licence
    yield "citation", definition.citation or "none given"
    yield "channels", _channels(definition)
    yield "classes", _classes(definition)
    yield "networks see", form(definition)
    yield "preparation", ", ".join(_preparation(definition))
    yield "subjects", _subjects(definition)
    yield "split", _split(definition)
    yield "tolerance of the surface Dice", f"{definition.surface_tolerance:g} (mm; pixels where the spacing is unknown)"
    yield "equivalence margin", f"{definition.equivalence_margin:g} Dice"


def _channels(definition: Definition) -> str:
    if definition.phantom is not None:
        return "1, generated"
    if definition.files is not None:
        return ", ".join(definition.files.channels)
    return "as `dataset.json` says" if definition.patterns is None else ", ".join(definition.patterns.channels)


def _classes(definition: Definition) -> str:
    if definition.phantom is not None:
        return "three structures, generated"
    classes = {name: " or ".join(map(str, values)) for name, values in (definition.classes or {}).items()}
    if definition.patterns is not None:
        classes |= {name: "a mask of its own" for name in definition.patterns.masks if name not in classes}
    if not classes:
        return "as `dataset.json` says"
    background = ", ".join(map(str, (0, *definition.background)))
    return "; ".join([f"background: {background}", *(f"{name}: {values}" for name, values in classes.items())])


def _preparation(definition: Definition) -> Iterator[str]:
    """Yield the steps from a file to what networks see."""
    if definition.crop is not None:
        yield f"a box of {'×'.join(map(str, definition.crop))} voxels around the label"
    if definition.phantom is None:
        yield "oriented to RAS where the orientation is known"
    if definition.fit == "resize":
        yield "resized"
    if definition.clip_range is not None:
        yield "clipped to {:g} to {:g}".format(*definition.clip_range)
    yield "normalised to z-scores per channel over the case"
    if definition.spatial_dims == 2 and definition.folder:
        yield "volumes cut into axial slices"
    if definition.fit == "pad":
        yield "padded and cropped around the centre"
    whole = definition.spatial_dims == 2 or definition.size is not None or definition.phantom is not None
    if definition.patch == "auto" and not whole:
        yield "trained on patches above 160³ voxels"
    elif isinstance(definition.patch, tuple):
        yield f"trained on patches of {'×'.join(map(str, definition.patch))}"


def _subjects(definition: Definition) -> str:
    if definition.phantom is not None:
        return f"{definition.phantom.cases} generated cases, each of a subject of its own"
    if definition.subject_pattern is not None:
        return f"the first group of `{definition.subject_pattern}` in a case id"
    if definition.files is not None and definition.files.case != "{subject}":
        return "as the files' paths say; a subject can have several cases"
    return "every case is a subject"


def _split(definition: Definition) -> str:
    if definition.test_cases:
        return f"official test set: {len(definition.test_cases)} cases"
    test = "a quarter of the subjects" if definition.test_subjects is None else f"{definition.test_subjects} subjects"
    return f"{test} for testing, drawn by a hash of ids (split version {definition.split_version})"


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
