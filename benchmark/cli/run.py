"""`stampbench run`: train strategies on one dataset."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from stampbench.benchmark.cli.common import warn
from stampbench.benchmark.cli.completion import DATASET, NETWORK, PROTOCOL, STRATEGY
from stampbench.benchmark.cli.options import (
    DATA_ROOT,
    MAX_VOXELS,
    PLUGIN,
    RUNS,
    Form,
    compute_options,
    executor_options,
    form_options,
)
from stampbench.benchmark.cli.parsing import parse_names, parse_settings, parsed
from stampbench.benchmark.errors import UserError

if TYPE_CHECKING:
    from stampbench.benchmark.api import ComputeSettings, ExecutorSettings


@click.command()
@click.option(
    "--strategy", "strategies", required=True, shell_complete=STRATEGY, help="Name, several separated by commas, or all"
)
@click.option(
    "--network",
    "networks",
    default="unet",
    show_default=True,
    shell_complete=NETWORK,
    help="Name, or several separated by commas",
)
@click.option("--weights", help="Trained weights to start from: a file, or the folder of a run or of nnU-Net")
@click.option(
    "--dataset",
    required=True,
    shell_complete=DATASET,
    help="Name, phantom2d:size=48,cases=20, a folder, or a definition file",
)
@click.option("--n-train", default="all", show_default=True, help="Training images, validation images included")
@click.option(
    "--training-set", default=0, show_default=True, type=click.IntRange(0), help="Which draw of training images"
)
@click.option("--folds", default="all", show_default=True, help="Fold numbers such as 0,2")
@click.option("--seed", default=0, show_default=True, type=click.IntRange(0), help="Seed of the runs")
@click.option(
    "--protocol",
    default="paper",
    show_default=True,
    shell_complete=PROTOCOL,
    help="See 'stampbench list protocols'",
)
@click.option("--set", "settings", multiple=True, metavar="KEY=VALUE", help="Hyperparameter, repeatable")
@click.option("--network-set", multiple=True, metavar="KEY=VALUE", help="Hyperparameter of the network, repeatable")
@click.option("--protocol-set", multiple=True, metavar="KEY=VALUE", help="Setting of the protocol, repeatable")
@click.option("--precision", type=click.Choice(["fp32", "bf16", "fp16"]), help="Same as --protocol-set precision=…")
@compute_options()
@executor_options
@form_options
@DATA_ROOT
@MAX_VOXELS
@RUNS
@PLUGIN
@click.option("--force", is_flag=True, help="Execute finished runs again; each old record stays until then")
@click.option("--dry-run", is_flag=True, help="Print finished, missing and failed runs and an estimate only")
@click.option("--quiet", is_flag=True, help="Show no progress")
def run(
    strategies: str, networks: str, weights: str | None, dataset: str, n_train: str, training_set: int, folds: str,
    seed: int, protocol: str, settings: tuple[str, ...], network_set: tuple[str, ...], protocol_set: tuple[str, ...],
    precision: str | None, compute: ComputeSettings, executors: ExecutorSettings, form: Form, data_root: Path | None,
    runs_folder: Path, plugins: tuple[Path, ...], force: bool, dry_run: bool, quiet: bool,
) -> int:  # fmt: skip
    """Train strategies on a dataset and record them; finished runs are skipped.

    --folds names folds of the protocol's five. A dataset with fewer training subjects than folds is an
    error; --protocol-set folds=2 makes fewer folds, which is another protocol and another table.
    --network takes names of 'stampbench list networks' and classes such as mypackage.nets:MyNet.
    --network-set size=4 chooses as many parameters as the U-Net with f=4 has; 8, 16 and 32 are usual too.
    --weights replaces the training of the network that prune_finetune starts from.

    \b
    Example:
      stampbench run --strategy standard,stamp,stamp_plus --dataset hippocampus \\
                     --n-train 25 --folds 0 --protocol quick
    """
    from pydantic import ValidationError

    from stampbench.benchmark.api import RunOptions, plan
    from stampbench.benchmark.cli.common import discover_plugins
    from stampbench.benchmark.cli.planned_runs import execute_tasks
    from stampbench.benchmark.config.suite import Block, parse_folds, parse_n_train
    from stampbench.benchmark.config.validated import explain
    from stampbench.benchmark.environment.precision import check_precision

    discover_plugins(plugins)
    protocol_settings = parse_settings("--protocol-set", protocol_set)
    if precision is not None:
        protocol_settings["precision"] = precision
    given = {
        "strategies": _entries(parse_names(strategies), protocol, protocol_settings, parse_settings("--set", settings)),
        "networks": _network_entries(parse_names(networks), parse_settings("--network-set", network_set)),
        "weights": weights,
        "datasets": [form.request(dataset)],
        "n_train": [parsed("--n-train", parse_n_train, n_train)],
        "training_sets": [training_set],
        "folds": parsed("--folds", parse_folds, folds),
        "seeds": [seed],
        "protocol": protocol,
        "protocol_set": protocol_settings,
    }
    check_precision(protocol_settings.get("precision", "fp32"), compute.torch_device)
    options = RunOptions(
        runs=runs_folder, data_root=data_root, plugins=plugins, compute=compute, executors=executors, force=force,
        quiet=quiet,
    )  # fmt: skip
    try:
        block = Block.model_validate(given)
    except ValidationError as error:
        field, problem = explain(error)
        for of_block, option in (("seeds.0", "--seed"), ("training_sets.0", "--training-set")):
            field = field.replace(of_block, option)
        raise UserError(f"{field}{problem}") from None
    return execute_tasks(plan(block, options, warn=warn), options, dataset, dry_run=dry_run)


def _entries(
    names: list[str], protocol: str, protocol_settings: dict[str, str], settings: dict[str, str]
) -> list[dict[str, Any]]:
    """Return entries of a suite: every setting goes to the strategies that have it."""
    from stampbench.benchmark.config.resolve import resolve_protocol, resolve_strategies

    skipped: list[str] = []
    resolved = resolve_strategies(names, resolve_protocol(protocol, protocol_settings), settings, skipped)
    for problem in skipped:
        warn(f"skipped: {problem}")
    return [
        {
            "name": each.name,
            "set": {key: value for key, value in settings.items() if key in type(each.strategy).model_fields},
        }
        for each in resolved
    ]


def _network_entries(names: list[str], settings: dict[str, str]) -> list[dict[str, Any]]:
    from stampbench.benchmark.config.resolve import network_settings, resolve_networks

    resolve_networks(names, settings)
    return [
        {"name": name, "set": {key: settings[key] for key in network_settings(name) if key in settings}}
        for name in names
    ]
