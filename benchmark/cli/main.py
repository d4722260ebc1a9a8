"""The command line: it parses, calls, prints. Heavy imports wait until a command needs them."""

from __future__ import annotations

import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn

import click
from click.exceptions import NoArgsIsHelpError

from stampbench.benchmark.cli.datasets import datasets
from stampbench.benchmark.cli.figure import figure
from stampbench.benchmark.cli.latency import doctor, export, latency, predict
from stampbench.benchmark.cli.leaderboard import compare, leaderboard, publish, render, report, submit
from stampbench.benchmark.cli.options import (
    DEVICE,
    PLUGIN,
    RUNS,
    SAVE_EVERY,
    THREADS,
    View,
    dataset_choice,
    dataset_options,
    load_plugins,
    open_named,
)  # fmt: skip
from stampbench.benchmark.cli.store import store
from stampbench.benchmark.cli.suite import suite
from stampbench.benchmark.errors import RunLeasedError, TrainingFailedError, UserError
from stampbench.datasets.errors import DatasetError
from stampbench.models.errors import ModelError
from stampbench.strategies.errors import StrategyError

if TYPE_CHECKING:
    from stampbench.benchmark.environment.compute_settings import Compute
    from stampbench.benchmark.execution.job import Machine
    from stampbench.benchmark.execution.runner import Run
    from stampbench.benchmark.execution.scheduler import Task


def main() -> NoReturn:
    """Run the command line; what a user can cause ends in one line and exit code 2."""
    debug = "--debug" in sys.argv
    try:
        sys.exit(cli.main(standalone_mode=False) or 0)
    except NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.ClickException as error:
        _fail(" ".join(error.format_message().split()), 2)
    except (UserError, DatasetError, ModelError, StrategyError) as error:
        if debug:
            raise
        _fail(str(error), 2)
    except (KeyboardInterrupt, click.Abort):
        _fail("interrupted; the same command goes on where it stopped", 130)


def _fail(message: str, code: int) -> NoReturn:
    click.echo(f"error: {message}", err=True)
    sys.exit(code)


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="stampbench")
@click.option("--debug", is_flag=True, help="Show the traceback of an error")
def cli(debug: bool) -> None:
    """Compact medical segmentation networks: every strategy, one protocol, one leaderboard.

    \b
    stampbench run --strategy standard,stamp_plus --dataset phantom2d --n-train 20 --folds 0 --protocol quick
    stampbench leaderboard
    """


@cli.command()
@click.option("--strategy", "strategies", required=True, help="Name, several with commas between, or all")
@click.option("--dataset", required=True, help="Name, phantom2d:size=48,cases=20, or a folder")
@click.option("--n-train", default="all", show_default=True, help="Training images, validation included")
@click.option("--folds", default="all", show_default=True, help="Fold numbers such as 0,2")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0))
@click.option("--protocol", default="paper", show_default=True, help="See 'stampbench list protocols'")
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="A hyperparameter, repeatable")
@click.option("--protocol-set", "protocol_settings", multiple=True, metavar="KEY=VALUE", help="Repeatable")
@DEVICE
@THREADS
@click.option(
    "--kernels",
    type=click.Choice(["fast", "plain"]),
    default="fast",
    show_default=True,
    help="fast: channels-last and fused normalisation on a CPU; plain: PyTorch's modules, the same to rounding",
)
@click.option(
    "--allocator",
    type=click.Choice(["keep", "system"]),
    default="keep",
    show_default=True,
    help="keep: freed memory stays with the process (glibc)",
)
@click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), help="As --protocol-set precision=…")
@click.option("--deterministic", is_flag=True, help="Refuse operations whose result depends on timing (GPU)")
@click.option("--tf32", is_flag=True, help="Let a GPU round the inputs of convolutions to ten bits")
@click.option(
    "--runs-per-device",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="Runs at a time, each in a process; CPU threads are shared out",
)
@click.option("--save-memory", is_flag=True, help="Compute activations twice instead of keeping them")
@SAVE_EVERY
@RUNS
@dataset_options
@PLUGIN
@click.option("--force", is_flag=True, help="Run again what is finished; the old record stays until then")
@click.option("--dry-run", is_flag=True, help="Print the runs and their epochs, do nothing")
@click.option("--quiet", is_flag=True, help="No progress")
def run(
    strategies: str, dataset: str, n_train: str, folds: str, seed: int, protocol: str, settings: tuple[str, ...],
    protocol_settings: tuple[str, ...], device: str, threads: int | None, kernels: Literal["fast", "plain"],
    allocator: str, precision: str | None, deterministic: bool, tf32: bool, runs_per_device: int,
    save_memory: bool, save_every: float, runs_folder: Path, view: View, plugins: tuple[Path, ...],
    force: bool, dry_run: bool, quiet: bool,
) -> int:  # fmt: skip
    """Train strategies on a dataset and record them; finished runs are not run again.

    --folds names folds of the protocol's five; a dataset with fewer training subjects than folds is
    refused, and --protocol-set folds=2 makes fewer of them (another protocol, hence another table).

    \b
    Example:
      stampbench run --strategy standard,stamp,stamp_plus --dataset hippocampus \\
                     --n-train 25 --folds 0 --protocol quick
    """
    from stampbench.benchmark.config.resolve import resolve_folds, resolve_n_train, resolve_protocol, resolve_strategies
    from stampbench.benchmark.environment.compute_settings import Compute, busy_warning, check_precision, set_up_process
    from stampbench.benchmark.environment.progress import Progress
    from stampbench.benchmark.environment.provenance import choose_device
    from stampbench.benchmark.execution.job import Job
    from stampbench.benchmark.execution.runner import plan_run, prepare_cases, with_parents
    from stampbench.benchmark.execution.scheduler import Task
    from stampbench.benchmark.records.run_store import RunStore
    from stampbench.datasets.dataset_json import suspected_pattern

    load_plugins(plugins)
    if precision is not None:
        protocol_settings = (*protocol_settings, f"precision={precision}")
    chosen_protocol = resolve_protocol(protocol, protocol_settings)
    left_out: list[str] = []
    choices = resolve_strategies(strategies, chosen_protocol, settings, left_out)
    for problem in left_out:
        click.echo(f"warning: left out: {problem}", err=True)
    chosen_folds, size = resolve_folds(folds, chosen_protocol), resolve_n_train(n_train)
    compute = Compute(
        choose_device(device), kernels, save_memory, deterministic, tf32, save_every=save_every
    )  # fmt: skip
    check_precision(chosen_protocol.precision, compute.device)
    set_up_process(threads, keep_heap=False, deterministic=deterministic, tf32=tf32)
    opened = open_named(dataset, view)
    with Progress(opened.name, 1, quiet=quiet) as progress:
        opened.verify(lambda done, of: progress.case(done, of, "reading"))
    if (pattern := suspected_pattern(opened.reader.cases)) is not None:
        click.echo(
            f"warning: ids such as '{opened.reader.cases[0].id}' look like several images of a subject; "
            f"--subject-pattern '{pattern}' keeps them on one side of the split",
            err=True,
        )
    store = RunStore(runs_folder)
    asked = [
        plan_run(choice, opened, chosen_protocol, n_train=size, fold=fold, seed=seed)
        for choice in choices
        for fold in chosen_folds
    ]
    runs, ids = with_parents(asked), {each.spec.id for each in asked}
    todo = [each for each in runs if (force and each.spec.id in ids) or store.status(each.spec) != "finished"]
    todo_ids = {each.spec.id for each in todo}
    for each in runs:
        if each.spec.id not in todo_ids:
            click.echo(f"{each.spec.id}  {each.title}: cached")
            continue
        state = (store.status(each.spec) or "new") + ("" if each.spec.id in ids else ", a source")
        click.echo(
            f"{each.spec.id}  {each.title}: {state}, at most {each.plan.epochs} epochs, "
            f"{each.plan.ranking_passes} ranking passes"
        )
    if dry_run or not todo:
        total = sum(each.plan.epochs for each in todo)
        click.echo(f"{len(todo)} of {len(runs)} runs to do, at most {total} epochs")
        return 0
    store.check_writable()
    if warning := busy_warning():
        click.echo(f"warning: {warning}", err=True)
    if runs_per_device > 1:
        with Progress(opened.name, 1, quiet=quiet) as progress:
            prepare_cases(todo, progress)  # once, and not by every process
        tasks = [
            Task(
                each,
                Job.of(
                    each,
                    dataset_choice(dataset, view),
                    protocol,
                    protocol_settings,
                    force=force and each.spec.id in ids,
                ),
            )
            for each in todo
        ]
        return _execute_in_processes(tasks, store, _machine(compute, view, runs_folder, plugins, threads, allocator),
                                     runs_per_device)  # fmt: skip
    return _execute(todo, store, compute, allocator, forced=ids if force else set(), quiet=quiet)


def _machine(
    compute: Compute, view: View, runs_folder: Path, plugins: tuple[Path, ...], threads: int | None, allocator: Any
) -> Machine:  # fmt: skip
    from stampbench.benchmark.execution.job import Machine

    return Machine(
        runs=runs_folder,
        data_root=view.data_root,
        plugins=plugins,
        device=str(compute.device),
        threads=threads,
        allocator=allocator,
        kernels=compute.kernels,
        save_memory=compute.save_memory,
        deterministic=compute.deterministic,
        tf32=compute.tf32,
        save_every=compute.save_every,
    )


def _execute_in_processes(tasks: list[Task], store: Any, machine: Machine, processes: int) -> int:
    from stampbench.benchmark.environment.progress import end_like_ctrl_c
    from stampbench.benchmark.execution.executors.local import LocalExecutor
    from stampbench.benchmark.execution.scheduler import Report, complete

    end_like_ctrl_c()
    failed = complete(tasks, store, LocalExecutor(machine, processes), Report(click.echo))
    click.echo(f"next: stampbench leaderboard --runs {store.root}")
    return 1 if failed else 0


def _execute(
    todo: list[Run], store: Any, compute: Any, allocator: str, *, forced: set[str], quiet: bool
) -> int:  # fmt: skip
    from stampbench.benchmark.environment.allocator import keep_heap
    from stampbench.benchmark.environment.progress import Progress, end_like_ctrl_c
    from stampbench.benchmark.execution.runner import execute, prepare_cases, summary_line

    end_like_ctrl_c()
    with Progress(todo[0].dataset.name, 1, quiet=quiet) as progress:
        prepared = prepare_cases(todo, progress)
    if allocator == "keep":  # not before: preparation needs large blocks that training has no use for
        keep_heap()
    failed = 0
    for each in todo:
        if absent := [name for name, source in each.parents.items() if store.status(source.spec) != "finished"]:
            failed += 1
            click.echo(f"{each.spec.id}  {each.title}: left out: its source '{absent[0]}' is not finished", err=True)
            continue
        with Progress(each.title, each.plan.epochs, quiet=quiet) as progress:
            try:
                done = execute(each, prepared, store, compute, progress, force=each.spec.id in forced)
            except RunLeasedError as error:
                click.echo(f"{each.spec.id}  {each.title}: left out: {error}", err=True)
                continue
            except TrainingFailedError as error:
                failed += 1
                if click.get_current_context().find_root().params["debug"]:
                    traceback.print_exception(error)
                click.echo(f"{each.spec.id}  {each.title}: failed: {error}", err=True)
                continue
        click.echo(f"{each.spec.id}  {each.title}: {summary_line(done)}")
    if len(todo) > 1 or not quiet:
        click.echo(f"next: stampbench leaderboard --runs {store.root}")
    return 1 if failed else 0


@cli.command("list")
@click.argument("what", type=click.Choice(["strategies", "protocols"]))
@PLUGIN
def list_names(what: str, plugins: tuple[Path, ...]) -> None:
    """Names that can be used, a line each.

    \b
    Example:
      stampbench list strategies
    """
    if what == "strategies":
        from stampbench.strategies.registry import STRATEGIES

        load_plugins(plugins)
        lines = {}
        for name, entry in STRATEGIES.items():
            try:
                lines[name] = entry.describe() + (f" [{entry.origin}]" if entry.origin else "")
            except StrategyError as error:
                click.echo(f"warning: strategy '{name}': {error}", err=True)
    else:
        from stampbench.benchmark.config.protocol import PROTOCOLS

        lines = {name: protocol.summary for name, protocol in PROTOCOLS.items()}
    width = max(map(len, lines))
    for name, line in lines.items():
        click.echo(f"{name:{width}}  {line}")


@cli.command("new-strategy")
@click.argument("name")
@click.option("--output", type=click.Path(path_type=Path), default=Path(), help="Folder  [default: here]")
def new_strategy(name: str, output: Path) -> None:
    """Write an example strategy and its test, which pass as they are.

    \b
    Example:
      stampbench new-strategy my_idea
    """
    from stampbench.benchmark.config.strategy_template import write_strategy

    file, test = write_strategy(name, output)
    click.echo(f"wrote {file} and {test}")
    click.echo(f"next: pytest {test}")
    click.echo(f"      stampbench run --plugin {file} --strategy {name} --dataset phantom2d --folds 0 --protocol quick")


for _command in (
    datasets,
    suite,
    store,
    latency,
    export,
    predict,
    doctor,
    leaderboard,
    compare,
    figure,
    report,
    publish,
    submit,
    render,
):
    cli.add_command(_command)
