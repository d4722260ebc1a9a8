"""`stampbench figure`: a command for every figure."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stampbench.benchmark.cli.common import read_chosen, warn_skipped
from stampbench.benchmark.cli.compare import comparisons_of
from stampbench.benchmark.cli.completion import STRATEGY_OR_RUN
from stampbench.benchmark.cli.options import DATA_ROOT, FOLDER, MAX_VOXELS, RUNS, RecordFilter, filter_options
from stampbench.benchmark.errors import UserError
from stampbench.reports.figures import FIGURES, Entry

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def _figure_file(_context: click.Context, _option: click.Parameter, output: Path | None) -> Path | None:
    from stampbench.reports.figures.style import ENDINGS

    if output is None:
        return None
    if not output.name:
        raise UserError(f"cannot write '{output}': it is a folder; name a file")
    if output.suffix[1:].isalpha() and output.suffix.lower() not in ENDINGS:
        raise UserError(f"--output '{output}': allowed endings are {', '.join(ENDINGS)}, or none")
    return output


OUTPUT = click.option(
    "--output",
    type=click.Path(path_type=Path),
    callback=_figure_file,
    help="File ending in .svg, .png or .pdf; without ending .svg and .png",
)


@click.group()
def figure() -> None:
    """Draw figures from recorded runs, as SVG and PNG.

    \b
    Example:
      stampbench figure pareto --dataset hippocampus --output pareto
    """


def _command(name: str, entry: Entry) -> click.Command:
    hyphenated = name.replace("_", "-")
    like = f" After {entry.source}." if entry.source else ""

    def draw(runs_folder: Path, chosen: RecordFilter, output: Path | None, **options: Any) -> None:
        from stampbench.reports.escape import plot_texts

        records = read_chosen(runs_folder, chosen)
        records = records._replace(runs=plot_texts(records.runs))
        module, _, function = entry.function.partition(":")
        _draw(partial(getattr(import_module(module), function), **records._asdict(), **options), output or Path(name))

    draw.__doc__ = f"""{entry.summary[0].upper()}{entry.summary[1:]}.{like}

    \b
    Example:
      stampbench figure {hyphenated} --dataset hippocampus --output {name}.svg
    """
    command: Callable[..., Any] = draw
    if name == "filters_per_layer":
        command = click.option(
            "--parameters", type=int, help="First network with at most so many parameters  [default: selected]"
        )(command)
    if name in ("dice_along_pruning", "retrained_against_pruned"):
        command = click.option(
            "--score",
            type=click.Choice(["validation", "test"]),
            default="validation",
            show_default=True,
            help="Which Dice; test needs runs made with --trajectory-test",
        )(command)
    for option in (OUTPUT, filter_options(), RUNS):
        command = option(command)
    return click.command(hyphenated)(command)


def _draw(draw: Callable[[], Figure], output: Path) -> None:
    from stampbench.reports.figures.style import NothingToDrawError

    try:
        drawn = draw()
    except NothingToDrawError as error:
        raise UserError(f"nothing to draw: {error}", setting=error.setting) from error
    _save(drawn, output)


def _save(drawn: Figure, output: Path) -> None:
    from stampbench.datasets.atomic_file import whole_folder
    from stampbench.reports.figures.style import save

    try:
        with whole_folder(output.parent) as folder:
            written = [output.with_name(path.name) for path in save(drawn, folder / output.name)]
    except OSError as error:
        raise UserError(f"cannot write {output}: {error.strerror or error}") from error
    click.echo(f"wrote {', '.join(map(str, written))}")


@figure.command()
@click.argument("first", shell_complete=STRATEGY_OR_RUN)
@click.argument("others", nargs=-1, required=True, shell_complete=STRATEGY_OR_RUN)
@RUNS
@filter_options(strategies=False)
@OUTPUT
def forest(first: str, others: tuple[str, ...], runs_folder: Path, chosen: RecordFilter, output: Path | None) -> None:
    """Draw the differences between a strategy and OTHERS, with intervals, decisions and the margin of equivalence.

    Names are those of 'stampbench compare', and so are the numbers.

    \b
    Example:
      stampbench figure forest stamp_plus standard random_largest --dataset dsb2018 --output forest.svg
    """
    from stampbench.reports.figures.forest import forest as draw

    comparisons = comparisons_of(read_chosen(runs_folder, chosen, trajectories=False), first, others)
    _draw(partial(draw, comparisons), output or Path("forest"))


@figure.command()
@RUNS
@filter_options()
@OUTPUT
def losses(runs_folder: Path, chosen: RecordFilter, output: Path | None) -> None:
    """Draw training and validation loss by epoch, a line per run.

    It needs the store, because published tables have no losses.

    \b
    Example:
      stampbench figure losses --dataset hippocampus --strategy standard --strategy stamp_plus
    """
    from stampbench.benchmark.records.run_store import RunStore
    from stampbench.benchmark.records.tables import read_epochs
    from stampbench.reports.figures.losses import losses as draw

    runs = read_chosen(runs_folder, chosen, trajectories=False).runs
    problems: list[str] = []
    epochs = read_epochs(RunStore(runs_folder), set(runs["run"]), problems)
    warn_skipped(problems)
    _draw(partial(draw, runs, epochs), output or Path("losses"))


@figure.command()
@RUNS
@filter_options()
@OUTPUT
@FOLDER
@DATA_ROOT
@MAX_VOXELS
def segmentations(
    runs_folder: Path, chosen: RecordFilter, output: Path | None, folder: str | None, data_root: Path | None
) -> None:
    """Draw the same test cases (best, median, worst) of each strategy's first run. After Dinsdale et al. 2022, Fig. 4.

    It runs inference again, so it needs the store and the data.

    \b
    Example:
      stampbench figure segmentations --dataset hippocampus --n-train 25 --strategy standard --strategy stamp_plus
    """
    from stampbench.benchmark.records.reinference import Reinference
    from stampbench.benchmark.records.run_store import RunStore
    from stampbench.reports.figures.segmentations import chosen_cases
    from stampbench.reports.figures.segmentations import segmentations as draw

    records = read_chosen(runs_folder, chosen, trajectories=False)
    if records.runs["group"].nunique() > 1:
        raise UserError("these runs belong to several tables; choose one", setting="dataset")
    store = RunStore(runs_folder)
    reinference = Reinference(store, data_root, folder)
    ordered = records.runs.sort_values(["fold", "seed"]).drop_duplicates("strategy").set_index("strategy")["run"]
    first = {name: str(ordered[name]) for name in chosen.strategies or sorted(ordered.index)}
    scores = records.cases[records.cases["run"].isin(first.values())]
    ranked = chosen_cases(scores)
    dice_of = scores.groupby(["run", "case"])["dice"].mean()
    examples, classes = {}, tuple[str, ...]()
    for strategy, run in first.items():
        found = {each.case: each for each in reinference.examples(run, [case for case, _ in ranked.values()])}
        examples[strategy] = [(rank, float(dice_of[run, case]), found[case]) for rank, (case, _) in ranked.items()]
        classes = reinference.dataset(store.find(run)[1]).classes
    _save(draw(examples, classes), output or Path("segmentations"))


for _name, _entry in FIGURES.items():
    figure.add_command(_command(_name, _entry))
