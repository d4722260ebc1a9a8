"""`stampbench datasets`: what there is, how to get it, whether it is sound."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stampbench.benchmark.cli.options import ROOT, View, dataset_options, define_named, find_datasets, open_named
from stampbench.benchmark.errors import UserError

if TYPE_CHECKING:
    from stampbench.datasets.dataset import Dataset
    from stampbench.datasets.definition import Definition
    from stampbench.datasets.quality_control import QualityReport
    from stampbench.datasets.readers import CaseReader


@click.group()
def datasets() -> None:
    """Get, look at and check datasets.

    \b
    Example:
      stampbench datasets download hippocampus --data-root ~/data
      stampbench datasets check hippocampus --data-root ~/data
    """


@datasets.command("list")
@ROOT
@click.option("--format", "style", type=click.Choice(["text", "markdown"]), default="text", show_default=True)
def list_datasets(data_root: Path | None, style: str) -> None:
    """Every dataset, how it arrives, and whether it is here.

    \b
    Example:
      stampbench datasets list
    """
    from tabulate import tabulate

    from stampbench.datasets.path_pattern import is_here

    found = find_datasets()
    if style == "markdown":
        columns = ("name", "what", "networks see", "test subjects", "arrives as", "licence", "citation")
        rows: list[tuple[str, ...]] = [
            (f"`{name}`", each.summary, _form(each), str(each.test_subjects or "a quarter"), each.arrival, each.licence,
             each.citation)
            for name, each in found.items()
        ]  # fmt: skip
        click.echo(tabulate(rows, columns, tablefmt="github"))
        return

    def here(definition: Definition) -> str:
        if definition.phantom is not None:
            return "yes"
        return "yes" if data_root is not None and is_here(definition, data_root) else "no"

    rows = [(name, _form(each), each.arrival, here(each), each.summary) for name, each in found.items()]
    rows.append(("PATH", "as it is", "your own", "", "a folder of the Medical Segmentation Decathlon or of nnU-Net v2"))
    click.echo(tabulate(rows, ("name", "networks see", "arrives as", "here", "what"), tablefmt="plain"))
    if data_root is None:
        click.echo("\nno --data-root or STAMPBENCH_DATA is given: it is the folder that holds the datasets' folders")


@datasets.command()
@click.argument("name")
@dataset_options
def show(name: str, view: View) -> None:
    """What a dataset is, how to get it, and which files it has.

    \b
    Example:
      stampbench datasets show harp
    """
    from stampbench.datasets.dataset import open_dataset
    from stampbench.datasets.errors import DatasetError

    definition = define_named(name, view)
    lines = {
        "name": f"{definition.name}, version {definition.version}",
        "what": definition.summary + (" (synthetic)" if definition.synthetic else ""),
        "arrives as": definition.arrival,
    }
    problem = None
    try:
        lines |= _describe(open_dataset(definition, view.data_root))
    except DatasetError as error:
        if name not in find_datasets():
            raise
        problem = str(error).removesuffix(f"; {definition.remedy}")
        lines |= {"licence": definition.licence, "citation": definition.citation, "images": _form(definition)}
    if definition.archive is not None:
        lines["download"] = f"stampbench datasets download {definition.name}   (from {definition.archive.url})"
    if definition.obtain:
        lines["obtain"] = definition.obtain
    if definition.layout:
        lines["files"] = f"\n{'':11}".join(definition.layout.splitlines())
    if problem is not None:
        lines["here"] = f"no; {problem}"
    for key, value in lines.items():
        click.echo(f"{key:10} {value}")


@datasets.command()
@click.argument("name")
@ROOT
def download(name: str, data_root: Path | None) -> None:
    """Fetch a dataset, verify and unpack it; interrupted, the same command goes on.

    \b
    Example:
      stampbench datasets download hippocampus --data-root ~/data
    """
    from stampbench.benchmark.environment.progress import Progress
    from stampbench.datasets.download import fetch

    definition = define_named(name, View(data_root))
    if definition.archive is None:
        how = "it is built in" if definition.phantom else f"'stampbench datasets show {name}' says how to get it"
        raise UserError(f"dataset '{name}' cannot be downloaded: {how}")
    if data_root is None:
        raise UserError("where to? --data-root or STAMPBENCH_DATA names the folder that holds the datasets' folders")
    if (data_root / definition.archive.folder).exists():
        click.echo(f"{data_root / definition.archive.folder} is here already")
    else:
        with Progress(definition.name, 1) as progress:
            folder = fetch(
                definition.archive,
                data_root,
                lambda what, done, of: progress.case(done // 10**6, (of or done) // 10**6, what, "MB"),
            )
        click.echo(f"{folder}: fetched" + ("" if definition.archive.md5 else "; no checksum is known to verify it"))
    if definition.obtain:
        click.echo(f"still to do: {definition.obtain}")
    click.echo(f"next: stampbench datasets check {name} --data-root {data_root}")


@datasets.command("prepare")
@click.argument("name")
@dataset_options
def prepare_dataset(name: str, view: View) -> None:
    """Prepare every case, as a run would; what is prepared is kept and not prepared again.

    \b
    Example:
      stampbench datasets prepare hippocampus
    """
    import time

    from stampbench.benchmark.environment.progress import Progress

    started = time.monotonic()
    dataset = open_named(name, view)
    with Progress(dataset.name, 1) as progress:
        dataset.verify(lambda done, of: progress.case(done, of, "reading"))
        prepared = dataset.prepare(
            [case.id for case in dataset.reader.cases],
            lambda done, of: progress.case(done, of, "preparing"),
        )
    folder = next(iter(prepared.values())).folder.parent
    click.echo(f"{dataset.name}: {len(prepared)} cases in {folder} ({time.monotonic() - started:.1f} s)")


@datasets.command()
@click.argument("name")
@click.option("--overview", type=click.Path(path_type=Path), help="Picture of cases  [default: NAME-overview.png]")
@click.option("--table", type=click.Path(path_type=Path), help="Write a CSV with a row per case")
@dataset_options
def check(name: str, overview: Path | None, table: Path | None, view: View) -> int:
    """Read every case and say what is wrong: files, spaces, labels, duplicates, subjects, split.

    Ends with exit code 1 when something is an error. Writes a picture of cases with their outlines.

    \b
    Example:
      stampbench datasets check ./Dataset027_ACDC --subject-pattern '(patient\\d+)'
    """
    import pandas as pd

    from stampbench.benchmark.cli.options import write_output
    from stampbench.benchmark.environment.progress import Progress
    from stampbench.datasets.dataset import open_reader
    from stampbench.datasets.quality_control import check_dataset
    from stampbench.reports.overview import write_overview

    definition = define_named(name, view)
    reader, _ = open_reader(definition, view.data_root)
    with Progress(definition.name, 1) as progress:
        checked = check_dataset(definition, reader, lambda done, of: progress.case(done, of, "checking"))
    click.echo(_tables(definition.name, reader, checked))
    for finding in sorted(checked.findings):
        click.echo(f"{finding.level}: {finding.text}")
    errors = sum(finding.level == "error" for finding in checked.findings)
    if table is not None:
        write_output(table, pd.DataFrame(checked.cases).to_csv(index=False))
    if checked.panels:
        path = overview or Path(f"{definition.name}-overview.png")
        try:
            write_overview(path, checked.panels, reader.classes)
        except (OSError, ValueError) as error:
            raise UserError(f"cannot write {path}: {error}") from error
        click.echo(f"look at {path}: {len(checked.panels)} cases with their outlines")
    click.echo(f"{definition.name}: {errors} errors, {len(checked.findings) - errors} warnings")
    return 1 if errors else 0


def _form(definition: Definition) -> str:
    if definition.phantom is not None:
        return f"{definition.spatial_dims}D {'×'.join([str(definition.phantom.size)] * (definition.spatial_dims or 2))}"
    size = "×".join(map(str, definition.size)) if definition.size else "as it is"
    if definition.spatial_dims == 3 and definition.size is None:
        return "3D, in patches"
    return f"{definition.spatial_dims}D {size}" if definition.spatial_dims else size


def _describe(dataset: Dataset) -> dict[str, str]:
    from stampbench.datasets.split import pool

    definition, reader = dataset.definition, dataset.reader
    test, training = pool(definition, dataset.images)
    prepared = "padded or cropped to it" if definition.fit == "pad" else "resized to it"
    clip_range = "" if definition.clip_range is None else ", clipped to {:g} to {:g}".format(*definition.clip_range)
    patch = f", trained in patches of {'×'.join(map(str, dataset.patch))}" if dataset.patch else ""
    return {
        "licence": reader.licence,
        "citation": reader.citation or "none given",
        "folder": str(dataset.folder or "generated"),
        "images": f"{dataset.spatial_dims}D, {'×'.join(map(str, dataset.size))}: {prepared}{clip_range}{patch}",
        "distances": f"in {dataset.unit}",
        "channels": ", ".join(dataset.channels),
        "classes": ", ".join(f"{value} {label}" for value, label in enumerate(dataset.classes)),
        "cases": f"{len(reader.cases)} of {len({case.subject for case in reader.cases})} subjects",
        "split": f"{len(test)} test subjects; {len(training)} training images of the others",
    }


def _tables(name: str, reader: CaseReader, checked: QualityReport) -> str:
    """What the cases are like, and how frequent the classes."""
    import numpy as np
    from tabulate import tabulate

    if not checked.cases:
        return "no case could be read"

    def spread(values: list[tuple[float, ...]]) -> tuple[str, ...]:
        return tuple(" × ".join(f"{edge:g}" for edge in row) for row in np.quantile(values, (0, 0.5, 1), axis=0))

    cases = checked.cases
    rows = [
        ("size in voxels", *spread([case.shape for case in cases])),
        ("voxel in mm" if len(cases[0].shape) == 3 else "pixel", *spread([case.spacing for case in cases])),
        ("lowest intensity", *spread([(case.lowest,) for case in cases])),
        ("highest intensity", *spread([(case.highest,) for case in cases])),
    ]
    voxels = np.array([case.voxels for case in cases], dtype=float)
    share = voxels / voxels.sum(1, keepdims=True)
    frequencies = [
        (value, label, int((of > 0).sum()), f"{of.mean():.2%}", f"{of.min():.2%}", f"{of.max():.2%}")
        for value, (label, of) in enumerate(zip(reader.classes, share.T, strict=True))
    ]
    subjects = len({case.subject for case in reader.cases})
    return "\n\n".join(
        (
            f"{name}: {len(reader.cases)} cases of {subjects} subjects, {len(cases)} of them readable",
            tabulate(rows, ("per case and axis", "smallest", "median", "largest"), tablefmt="github"),
            tabulate(frequencies, ("", "class", "cases with it", "mean share", "least", "most"), tablefmt="github"),
            "",
        )
    )
