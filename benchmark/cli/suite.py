"""`stampbench suite`: many runs, described in a file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stampbench.benchmark.cli.common import discover_plugins, echo, warn
from stampbench.benchmark.cli.completion import SUITE
from stampbench.benchmark.cli.options import DATA_ROOT, MAX_VOXELS, PLUGIN, RUNS, compute_options, executor_options
from stampbench.benchmark.cli.tables import TableStyle, print_listings, table_options
from stampbench.benchmark.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from stampbench.benchmark.api import ComputeSettings, ExecutorSettings
    from stampbench.benchmark.config.suite import Block
    from stampbench.reports.listing import Listing

QUICK = click.option("--quick", is_flag=True, help="The suite's quick variant: hours instead of weeks")


@click.group()
def suite() -> None:
    """Describe many runs in a file, execute them anywhere, and resume them after an interruption.

    \b
    Example:
      stampbench suite run low_data --quick --jobs 2
    """


@suite.command("list")
def list_suites() -> None:
    """List the suites of the package: the experiments of the papers, and those of the published leaderboards.

    \b
    Example:
      stampbench suite list
    """
    from stampbench.benchmark.config.suite_file import load_suite, suite_names

    width = max(map(len, suite_names()))
    for name in suite_names():
        found = load_suite(name).suite
        echo(f"{name:{width}}  {found.summary} ({found.source})")


@suite.command("show")
@click.argument("name", shell_complete=SUITE)
@QUICK
@table_options
def show_suite(name: str, quick: bool, table: TableStyle) -> None:
    """Show a suite's purpose, the paper's findings, and its file, as a template for another suite.

    With --format, --columns or --sort, a table of its blocks instead of the file.

    \b
    Example:
      stampbench suite show low_data > mine.yaml
      stampbench suite show low_data --format md
    """
    from stampbench.benchmark.config.suite_file import load_suite

    file = load_suite(name, quick=quick)
    title = f"{file.suite.name}: {file.suite.summary}"
    if table.style or not table.plain:
        print_listings([_blocks(title, file.suite.blocks())], table)
        return
    echo(f"# {title}")
    for block in file.suite.blocks():
        row = _block_row(block)
        sets = f", training sets {row['training_sets']}" if block.training_sets != [0] else ""
        echo(
            f"# {row['strategies']}\n#   on {row['datasets']}, n = {row['n_train']}{sets}, folds {row['folds']}, "
            f"seeds {row['seeds']}, protocol {row['protocol']}"
        )
    echo(file.path.read_text(), nl=False)


def _block_row(block: Block) -> dict[str, str]:
    """Return the texts of a block by column."""
    return {
        "strategies": ", ".join(
            each.name + (f" ({each.variants} variants)" if each.grid else "") for each in block.strategies
        ),
        "datasets": ", ".join(each.name for each in block.datasets),
        "n_train": ", ".join(map(str, block.n_train)),
        "training_sets": ", ".join(map(str, block.training_sets)),
        "folds": "all" if block.folds == "all" else ",".join(map(str, block.folds)),
        "seeds": ", ".join(map(str, block.seeds)),
        "protocol": str(block.protocol),
    }


def _blocks(title: str, blocks: Sequence[Block]) -> Listing:
    import pandas as pd

    from stampbench.reports.listing import Listing

    rows = pd.DataFrame(map(_block_row, blocks))
    return Listing(title, rows, rows, {name: name.replace("_", " ") for name in map(str, rows)}, tuple(map(str, rows)))


@suite.command("run")
@click.argument("name", shell_complete=SUITE)
@QUICK
@click.option("--only", multiple=True, help="Only runs with this text in the title, or this id; repeatable")
@click.option("--retry-failed", is_flag=True, help="Execute failed runs again")
@click.option("--skip-absent", is_flag=True, help="Skip datasets that are absent instead of stopping")
@compute_options()
@executor_options
@DATA_ROOT
@MAX_VOXELS
@RUNS
@PLUGIN
@click.option("--force", is_flag=True, help="Execute finished runs again; each old record stays until then")
@click.option("--dry-run", is_flag=True, help="Print finished, missing and failed runs and an estimate only")
@click.option("--quiet", is_flag=True, help="Show no progress")
def run_suite(
    name: str, quick: bool, only: tuple[str, ...], retry_failed: bool, skip_absent: bool, compute: ComputeSettings,
    executors: ExecutorSettings, data_root: Path | None, runs_folder: Path, plugins: tuple[Path, ...], force: bool,
    dry_run: bool, quiet: bool,
) -> int:  # fmt: skip
    """Execute the runs of a suite that are not finished; NAME is a suite of the package or a YAML file.

    Parent runs come before the runs that build on them. Several such commands may share one store, on one
    machine or many. Ctrl-C saves running runs; run the same command again to resume them. The exit code is 1
    if a run failed.

    \b
    Example:
      stampbench suite run low_data --quick --dry-run
      stampbench suite run mine.yaml --jobs 4 --threads 1
    """
    from stampbench.benchmark.api import RunOptions, filter_tasks, plan
    from stampbench.benchmark.cli.planned_runs import execute_tasks
    from stampbench.benchmark.config.suite_file import load_suite

    options = RunOptions(
        runs=runs_folder, data_root=data_root, plugins=plugins, compute=compute, executors=executors, force=force,
        retry_failed=retry_failed, quiet=quiet,
    )  # fmt: skip
    discover_plugins(plugins)
    file = load_suite(name, quick=quick)
    absent: list[str] | None = [] if skip_absent else None
    tasks = filter_tasks(plan(file, options, warn=warn, absent=absent), only)
    for problem in absent or []:
        warn(f"skipped: {problem}")
    if not tasks:
        raise UserError(f"suite '{name}' has no runs" + (f" with {', '.join(only)}" if only else ""))
    return execute_tasks(tasks, options, file.suite.name, dry_run=dry_run)
