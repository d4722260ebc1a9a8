"""`stampbench suite`: many runs, described in a file."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stampbench.benchmark.cli.options import PLUGIN, ROOT, RUNS, SAVE_EVERY, find_datasets, load_plugins
from stampbench.benchmark.errors import UserError

if TYPE_CHECKING:
    from stampbench.benchmark.execution.executors.base import Executor
    from stampbench.benchmark.execution.scheduler import Task

QUICK = click.option("--quick", is_flag=True, help="The suite's quick variant: hours instead of weeks")


@click.group()
def suite() -> None:
    """Describe many runs in a file, run them anywhere, interrupt them anywhere.

    \b
    Example:
      stampbench suite run low_data --quick --jobs 2
    """


@suite.command("list")
def list_suites() -> None:
    """The papers' experiments, a line each.

    \b
    Example:
      stampbench suite list
    """
    from stampbench.benchmark.config.suite import load_suite, names

    width = max(map(len, names()))
    for name in names():
        found = load_suite(name).suite
        click.echo(f"{name:{width}}  {found.summary} ({found.source})")


@suite.command("show")
@click.argument("name")
@QUICK
def show_suite(name: str, quick: bool) -> None:
    """What a suite is for, what the paper found, and the file, to begin one's own with.

    \b
    Example:
      stampbench suite show low_data > mine.yaml
    """
    from stampbench.benchmark.config.suite import load_suite

    document = load_suite(name, quick=quick)
    click.echo(f"# {document.suite.name}: {document.suite.summary}")
    for block in document.suite.blocks():
        datasets = ", ".join(each.name for each in block.datasets)
        strategies = ", ".join(
            each.name + (f" ({len(list(each.settings()))} variants)" if each.grid else "") for each in block.strategies
        )
        click.echo(
            f"# {strategies}\n#   on {datasets}, n = {', '.join(block.n_train)}, folds {block.folds}, "
            f"seeds {', '.join(map(str, block.seeds))}, protocol {block.protocol}"
        )
    click.echo(document.path.read_text(), nl=False)


@suite.command("run")
@click.argument("name")
@QUICK
@click.option("--dry-run", is_flag=True, help="Print what is finished, missing and failed, and an estimate")
@click.option("--jobs", default=1, show_default=True, type=click.IntRange(1), help="Runs at a time, executor local")
@click.option("--threads", type=click.IntRange(1), help="CPU threads of a run  [default: the cores shared out]")
@click.option("--gpus", default=0.0, type=click.FloatRange(0), show_default=True,
              help="local: to share out; ray: the fraction of one that a run takes; slurm: of each job")  # fmt: skip
@click.option("--executor", type=click.Choice(["local", "ray", "slurm"]), default="local", show_default=True)
@click.option("--ray-address", help="Of a Ray cluster  [default: the one around, or a new one here]")
@click.option("--partition", help="slurm: the partition")
@click.option("--memory-gb", default=8.0, show_default=True, help="slurm: memory of a job")
@click.option("--minutes", default=24 * 60, show_default=True, help="slurm: time of a job")
@click.option("--only", multiple=True, help="Only runs whose title contains this, or with this id; repeatable")
@click.option("--retry-failed", is_flag=True, help="Run again what failed")
@click.option("--skip-absent", is_flag=True, help="Leave out datasets that are not here instead of stopping")
@click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps")
@click.option("--kernels", type=click.Choice(["fast", "plain"]), default="fast", show_default=True)
@SAVE_EVERY
@ROOT
@RUNS
@PLUGIN
def run_suite(
    name: str, quick: bool, dry_run: bool, jobs: int, threads: int | None, gpus: float, executor: str,
    ray_address: str | None, partition: str | None, memory_gb: float, minutes: int, only: tuple[str, ...],
    retry_failed: bool, skip_absent: bool, device: str, kernels: Any, save_every: float, data_root: Path | None,
    runs_folder: Path, plugins: tuple[Path, ...],
) -> int:  # fmt: skip
    """Run what a suite describes and is not finished; a file may be anybody's own.

    Sources come before what builds on them. Several of these commands may work on one store, on one machine or
    many. Ctrl-C saves what is under way; the same command goes on. Ends with exit code 1 when something failed.

    \b
    Example:
      stampbench suite run low_data --quick --dry-run
      stampbench suite run mine.yaml --jobs 4 --threads 1
    """
    from stampbench.benchmark.config.suite import load_suite
    from stampbench.benchmark.execution.expand_suite import unfold
    from stampbench.benchmark.execution.job import Machine
    from stampbench.benchmark.records.run_store import RunStore

    if executor != "local" and jobs != 1:
        raise UserError(f"--jobs is for --executor local; {executor} runs as many at a time as it has room for")
    if executor != "ray" and gpus != int(gpus):
        raise UserError(f"--gpus {gpus:g}: a fraction of a GPU is for --executor ray")
    find_datasets()
    load_plugins(plugins)
    document = load_suite(name, quick=quick)
    absent: list[str] | None = [] if skip_absent else None
    tasks = _only(unfold(document, data_root, absent), only)
    for problem in absent or []:
        click.echo(f"warning: left out: {problem}", err=True)
    if not tasks:
        raise UserError(f"suite '{name}' has no runs" + (f" with {', '.join(only)}" if only else ""))
    store = RunStore(runs_folder)
    statuses = store.statuses()
    missing = [
        task for task in tasks
        if statuses.get(task.job.id) != "finished" and (retry_failed or statuses.get(task.job.id) != "failed")
    ]  # fmt: skip
    failed_before = [task for task in tasks if statuses.get(task.job.id) == "failed" and not retry_failed]
    _foretell(tasks, missing, failed_before, store, jobs)
    if dry_run:
        for task in missing[:20]:
            state = {"running": "begun", "failed": "to be tried again"}.get(statuses.get(task.job.id, ""), "missing")
            click.echo(f"{task.job.id}  {task.job.title}: {state}")
        if len(missing) > 20:
            click.echo(f"… and {len(missing) - 20} more")
        return 0
    failed: dict[str, str] = {}
    if missing:
        store.check_writable()
        machine = Machine(
            runs=runs_folder, data_root=data_root, plugins=plugins, device=device, threads=threads, kernels=kernels,
            save_every=save_every,
            timed=executor == "local" and jobs == 1,
        )  # fmt: skip
        chosen = _executor(executor, machine, jobs, gpus, ray_address, partition, memory_gb, minutes, runs_folder)
        failed = _complete(document.suite.name, missing, store, chosen)
    for task in failed_before:
        click.echo(f"{task.job.id}  {task.job.title}: failed before ({store.reason(task.run.spec)})", err=True)
    for task in missing:
        if task.job.id in failed:
            click.echo(f"{task.job.id}  {task.job.title}: failed: {failed[task.job.id]}", err=True)
    total = len(failed) + len(failed_before)
    if total:
        click.echo(f"{total} of {len(tasks)} runs failed; --retry-failed runs them again", err=True)
    click.echo(f"next: stampbench leaderboard --runs {runs_folder}")
    return 1 if total else 0


def _only(tasks: list[Task], words: tuple[str, ...]) -> list[Task]:
    """Those that are asked for, and their sources."""
    if not words:
        return tasks
    wanted = {task.job.id for task in tasks if any(word in task.job.title or word == task.job.id for word in words)}
    for task in reversed(tasks):  # sources stand before what builds on them
        if task.job.id in wanted:
            wanted |= {source.spec.id for source in task.run.parents.values()}
    return [task for task in tasks if task.job.id in wanted]


def _foretell(tasks: list[Task], missing: list[Task], failed: list[Task], store: Any, jobs: int) -> None:
    from stampbench.benchmark.execution.eta import Measured

    finished = len(tasks) - len(missing) - len(failed)
    click.echo(f"{len(tasks)} runs: {finished} finished, {len(missing)} missing, {len(failed)} failed")
    if missing:
        measured = Measured(record for _, record in store.records([], files=())) if finished else Measured(())
        estimate = measured.of([task.run for task in missing])
        line = f"at most {estimate.epochs:,} epochs"
        if estimate.unknown < len(missing):
            rest = f", {estimate.unknown} runs unlike any measured not counted" if estimate.unknown else ""
            line += f", about {estimate.seconds / jobs / 3600:.1f} hours on {jobs} at a time{rest}"
        else:
            line += "; how long they take, the store cannot say yet"
        click.echo(line)
    by_dataset = Counter(task.run.dataset.name for task in missing)
    if by_dataset:
        click.echo("missing: " + ", ".join(f"{number} on {name}" for name, number in by_dataset.items()))


def _executor(
    name: str, machine: Any, jobs: int, gpus: float, ray_address: str | None, partition: str | None,
    memory_gb: float, minutes: int, runs_folder: Path,
) -> Executor:  # fmt: skip
    try:
        if name == "ray":
            from stampbench.benchmark.execution.executors.ray import RayExecutor

            return RayExecutor(machine, ray_address, gpus)
        if name == "slurm":
            from stampbench.benchmark.execution.executors.slurm import SlurmExecutor

            return SlurmExecutor(
                machine, runs_folder / ".slurm", partition=partition, gpus=int(gpus), memory_gb=memory_gb,
                minutes=minutes,
            )  # fmt: skip
    except ImportError as error:
        raise UserError(f"--executor {name} needs its extra: pip install 'stampbench[{name}]' ({error})") from None
    from stampbench.benchmark.execution.executors.local import LocalExecutor

    return LocalExecutor(machine, jobs, int(gpus))


def _complete(name: str, tasks: list[Task], store: Any, executor: Executor) -> dict[str, str]:
    from stampbench.benchmark.environment.progress import SuiteProgress, end_like_ctrl_c
    from stampbench.benchmark.execution.scheduler import Report, complete

    end_like_ctrl_c()
    with SuiteProgress(name, len(tasks)) as progress:
        return complete(tasks, store, executor, Report(progress.say, progress.show))
