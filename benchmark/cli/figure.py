"""`stampbench figure`: a command for every figure."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stampbench.benchmark.cli.leaderboard import DATASET, N_TRAIN, PROTOCOL, STRATEGY, read
from stampbench.benchmark.cli.options import ROOT, RUNS
from stampbench.benchmark.errors import UserError
from stampbench.reports.figures import FIGURES, Entry

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from stampbench.benchmark.records.tables import Records

OUTPUT = click.option(
    "--output", type=click.Path(path_type=Path), help="File ending in .svg, .png or .pdf; without ending .svg and .png"
)


@click.group()
def figure() -> None:
    """Draw figures from recorded runs, as SVG and PNG.

    \b
    Example:
      stampbench figure pareto --dataset hippocampus --output pareto
    """


def _command(name: str, entry: Entry) -> click.Command:
    hyphened = name.replace("_", "-")
    like = f" After {entry.source}." if entry.source else ""

    def draw(
        runs_folder: Path, dataset: str | None, n_train: int | None, protocol: str | None,
        strategies: tuple[str, ...], output: Path | None, **options: Any,
    ) -> None:  # fmt: skip
        records = read(runs_folder, dataset, n_train, protocol, strategies)
        module, _, function = entry.function.partition(":")
        _write(partial(getattr(import_module(module), function), **options), records, output or Path(name))

    draw.__doc__ = f"""{entry.summary[0].upper()}{entry.summary[1:]}.{like}

    \b
    Example:
      stampbench figure {hyphened} --dataset hippocampus --output {name}.svg
    """
    if name == "filters_per_layer":
        draw = click.option(
            "--parameters", type=int, help="The first network with at most so many  [default: selected]"
        )(draw)
    for option in (OUTPUT, STRATEGY, PROTOCOL, N_TRAIN, DATASET, RUNS):
        draw = option(draw)
    return click.command(hyphened)(draw)


def _write(draw: Callable[..., Figure], records: Records, output: Path) -> None:
    from stampbench.reports.figures.style import NothingToDrawError

    try:
        drawn = draw(**records._asdict())
    except NothingToDrawError as error:
        raise UserError(f"nothing to draw: {error}") from error
    _save(drawn, output)


def _save(drawn: Figure, output: Path) -> None:
    from stampbench.reports.figures.style import save

    try:
        written = save(drawn, output)
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}") from error
    click.echo(f"wrote {', '.join(map(str, written))}")


@figure.command()
@RUNS
@DATASET
@N_TRAIN
@PROTOCOL
@STRATEGY
@OUTPUT
@click.option("--folder", help="The dataset's folder, where the dataset is not one that is known by name")
@ROOT
def segmentations(
    runs_folder: Path, dataset: str | None, n_train: int | None, protocol: str | None, strategies: tuple[str, ...],
    output: Path | None, folder: str | None, data_root: Path | None,
) -> None:  # fmt: skip
    """Best, median and worst test case of each strategy's first run, with outlines. After Dinsdale et al. 2022, Fig. 4.

    The recorded networks look at the cases again, so the store and the data have to be here.

    \b
    Example:
      stampbench figure segmentations --dataset hippocampus --n-train 25 --strategy standard --strategy stamp_plus
    """
    from stampbench.benchmark.records.reinference import Reinference
    from stampbench.benchmark.records.run_store import RunStore
    from stampbench.reports.figures.segmentations import chosen_cases
    from stampbench.reports.figures.segmentations import segmentations as draw

    records = read(runs_folder, dataset, n_train, protocol, strategies, trajectories=False)
    if records.runs["group"].nunique() > 1:
        raise UserError("these runs belong to several tables; --dataset, --n-train and --protocol choose one")
    store = RunStore(runs_folder)
    gallery = Reinference(store, data_root, folder)
    examples, classes = {}, tuple[str, ...]()
    for strategy in strategies or sorted(set(records.runs["strategy"])):
        run = records.runs[records.runs["strategy"] == strategy].sort_values(["fold", "seed"])["run"].iloc[0]
        chosen = chosen_cases(records.cases[records.cases["run"] == run])
        found = {each.case: each for each in gallery.examples(run, [case for case, _ in chosen.values()])}
        examples[strategy] = [(rank, dice, found[case]) for rank, (case, dice) in chosen.items()]
        classes = gallery.dataset(store.find(run)[1]).classes
    _save(draw(examples, classes), output or Path("segmentations"))


for _name, _entry in FIGURES.items():
    figure.add_command(_command(_name, _entry))
