"""`stampbench datasets`: list, download, prepare and check datasets."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING

import click

from stampbench.benchmark.cli.common import discover_plugins, echo, write_output
from stampbench.benchmark.cli.completion import DATASET
from stampbench.benchmark.cli.create_dataset import create
from stampbench.benchmark.cli.dataset_card import dataset_card
from stampbench.benchmark.cli.dataset_text import (
    CATALOGUE_SHORT,
    CATALOGUE_TITLES,
    case_tables,
    catalogue_rows,
    describe,
)
from stampbench.benchmark.cli.export_dataset import export_dataset
from stampbench.benchmark.cli.hints import hint
from stampbench.benchmark.cli.inspect_folder import inspect
from stampbench.benchmark.cli.options import DATA_ROOT, MAX_VOXELS, Form, form_options
from stampbench.benchmark.cli.tables import TableStyle, print_rows, table_options
from stampbench.benchmark.errors import UserError

if TYPE_CHECKING:
    from stampbench.datasets.definition import Definition


@click.group()
def datasets() -> None:
    """List, download, prepare and check datasets.

    \b
    Example:
      stampbench datasets download hippocampus --data-root ~/data
      stampbench datasets check hippocampus --data-root ~/data
    """


@datasets.command("list")
@DATA_ROOT
@table_options
def list_datasets(data_root: Path | None, table: TableStyle) -> None:
    """List all datasets, how to get them, and whether they are here.

    \b
    Example:
      stampbench datasets list
      stampbench datasets list --columns name,licence --sort licence
    """
    discover_plugins()
    print_rows(CATALOGUE_TITLES, {"": catalogue_rows(data_root)}, table, short=CATALOGUE_SHORT)
    if table.format_for() == "short":
        echo("Besides names, a PATH: a definition file, or a folder of the Decathlon or of nnU-Net v2")
        if data_root is None:
            echo("no --data-root or STAMPBENCH_DATA is set: it is the folder that holds the datasets' folders")


@datasets.command()
@click.argument("name", shell_complete=DATASET)
@table_options
@form_options
@DATA_ROOT
@MAX_VOXELS
def show(name: str, table: TableStyle, form: Form, data_root: Path | None) -> None:
    """Show a dataset, how to get it, and which files it has; with --format md, the dataset's card.

    \b
    Example:
      stampbench datasets show harp
      stampbench datasets show harp --format md
    """
    from stampbench.benchmark.cli.dataset_text import form as form_of
    from stampbench.datasets.catalogue import CATALOGUE
    from stampbench.datasets.dataset import open_dataset
    from stampbench.datasets.errors import DatasetError

    definition = _define(name, form)
    if table.style == "md" and table.plain:
        echo(dataset_card(definition).rstrip())
        return
    lines = {
        "name": f"{definition.name}, version {definition.version}",
        "what": definition.summary + (" (synthetic)" if definition.synthetic else ""),
        "arrives as": definition.arrival,
    }
    problem = None
    try:
        lines |= describe(open_dataset(definition, data_root))
    except DatasetError as error:
        if name not in CATALOGUE:
            raise
        problem = str(error).removesuffix(f"; {definition.remedy}")
        lines |= {"licence": definition.licence, "citation": definition.citation, "images": form_of(definition)}
    if definition.archive is not None:
        lines["download"] = f"stampbench datasets download {definition.name}   (from {definition.archive.url})"
    if definition.obtain:
        lines["obtain"] = definition.obtain
    if definition.layout:
        lines["files"] = definition.layout.strip()
    if problem is not None:
        lines["here"] = f"no; {problem}"
    if definition.source is not None and Path(definition.source).is_file():
        lines["defined by"] = f"{definition.source}\n{Path(definition.source).read_text()}"
    if table.style not in (None, "short") or not table.plain:
        print_rows({"fact": "fact", "value": "value"}, {"": [*lines.items()]}, table)
        return
    for key, value in lines.items():
        echo(f"{key:10} {value if key == 'defined by' else indent(value, 11 * ' ').strip()}")


@datasets.command()
@click.argument("name", shell_complete=DATASET)
@DATA_ROOT
def download(name: str, data_root: Path | None) -> None:
    """Download, verify and unpack a dataset; after an interruption, the same command resumes.

    \b
    Example:
      stampbench datasets download hippocampus --data-root ~/data
    """
    from stampbench.benchmark.environment.progress import Progress
    from stampbench.datasets.download import fetch

    definition = _define(name, Form())
    if definition.archive is None:
        how = "it is built in" if definition.phantom else f"'stampbench datasets show {name}' says how to get it"
        raise UserError(f"dataset '{name}' cannot be downloaded: {how}")
    if data_root is None:
        raise UserError("missing --data-root: set it, or STAMPBENCH_DATA, to the folder that holds datasets' folders")
    folder = data_root / definition.archive.folder
    if folder.exists():
        click.echo(f"{folder} exists already")
    else:
        with Progress(definition.name, 1) as progress:
            folder = fetch(
                definition.archive,
                data_root,
                lambda what, done, total: progress.case(done // 10**6, (total or done) // 10**6, what, "MB"),
            )
        verified = "" if definition.archive.md5 else "; not verified, because no checksum is known"
        click.echo(f"{folder}: downloaded{verified}")
    if definition.obtain:
        click.echo(f"still to do: {definition.obtain}")
    click.echo(f"next: stampbench datasets check {name} --data-root {shlex.quote(str(data_root))}")


@datasets.command("prepare")
@click.argument("name", shell_complete=DATASET)
@form_options
@DATA_ROOT
@MAX_VOXELS
def prepare_dataset(name: str, form: Form, data_root: Path | None) -> None:
    """Prepare every case as a run would, and keep it in the cache.

    \b
    Example:
      stampbench datasets prepare hippocampus
    """
    import time

    from stampbench.benchmark.environment.progress import Progress

    discover_plugins()
    started = time.monotonic()
    dataset = form.request(name).open(data_root)
    with Progress(dataset.name, 1) as progress:
        dataset.verify(lambda done, total: progress.case(done, total, "reading"))
        prepared = dataset.prepare(
            [case.id for case in dataset.reader.cases],
            lambda done, total: progress.case(done, total, "preparing"),
        )
    folder = next(iter(prepared.values())).folder.parent
    click.echo(f"{dataset.name}: {len(prepared)} cases in {folder} ({time.monotonic() - started:.1f} s)")


@datasets.command()
@click.argument("name", shell_complete=DATASET)
@click.option("--overview", type=click.Path(path_type=Path), help="Picture of cases  [default: in the cache folder]")
@click.option("--table", type=click.Path(path_type=Path), help="Write a CSV file with a row per case")
@form_options
@DATA_ROOT
@MAX_VOXELS
def check(name: str, overview: Path | None, table: Path | None, form: Form, data_root: Path | None) -> int:
    """Read every case and report problems: files, grids, labels, duplicates, subjects, split.

    Writes a picture of cases with their outlines. The exit code is 1 if there is an error.

    \b
    Example:
      stampbench datasets check ./Dataset027_ACDC --subject-pattern '(patient\\d+)'
    """
    from stampbench.datasets.dataset import open_reader

    definition = _define(name, form)
    reader, _ = open_reader(definition, data_root)

    import pandas as pd  # these imports take seconds, which a wrong name does not have to cost

    from stampbench.benchmark.environment.progress import Progress
    from stampbench.datasets.atomic_file import whole_file
    from stampbench.datasets.preparation.cache import cache_folder
    from stampbench.datasets.quality.control import check_dataset
    from stampbench.reports.escape import one_line, spreadsheet
    from stampbench.reports.overlays import write_overview

    with Progress(definition.name, 1) as progress:
        report = check_dataset(definition, reader, lambda done, total: progress.case(done, total, "checking"))
    echo(case_tables(definition.name, reader, report))
    for issue in sorted(report.findings, key=lambda each: (each.level, str(each))):
        echo(one_line(f"{issue.level}: {issue}{hint(issue.setting)}"))
    counts = Counter[str]()
    for issue in report.findings:
        counts[issue.level] += max(len(issue.cases), 1)
    if table is not None:
        write_output(table, spreadsheet(pd.DataFrame(report.cases)).to_csv(index=False))
    if report.panels:
        path = overview or cache_folder() / definition.name / "overview.png"
        try:
            with whole_file(path) as unfinished:
                write_overview(unfinished, report.panels, reader.classes)
        except (OSError, ValueError) as error:
            raise UserError(f"cannot write {path}: {error}") from error
        click.echo(f"wrote {path}: {len(report.panels)} prepared cases with their outlines")
    click.echo(f"{definition.name}: {counts['error']} errors, {counts['warning']} warnings")
    return 1 if counts["error"] else 0


datasets.add_command(create)
datasets.add_command(inspect)
datasets.add_command(export_dataset)


def _define(name: str, form: Form) -> Definition:
    discover_plugins()
    return form.request(name).define()
