"""`stampbench latency`: inference latency of networks, compared in interleaved timing."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stampbench.benchmark.cli.common import discover_plugins, echo, warn, write_output
from stampbench.benchmark.cli.completion import DATASET, RUN, STRATEGY
from stampbench.benchmark.cli.options import DATA_ROOT, MAX_VOXELS, PLUGIN, RUNS, Form, compute_options, form_options
from stampbench.benchmark.cli.parsing import parse_batches, parse_known, parse_names, parse_settings, parse_shape
from stampbench.benchmark.cli.tables import TableStyle, print_listings, table_options
from stampbench.benchmark.errors import UserError

if TYPE_CHECKING:
    import pandas as pd
    import torch

    from stampbench.benchmark.environment.compute_settings import ComputeSettings
    from stampbench.benchmark.execution.timed_networks import NetworksToTime
    from stampbench.benchmark.measure.latency_row import LatencyRow


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...", shell_complete=RUN)
@click.option(
    "--strategy",
    "strategies",
    shell_complete=STRATEGY,
    help="Names separated by commas: recorded on --dataset, else untrained",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Hyperparameter of --strategy such as f=32, repeatable; its networks are untrained",
)
@click.option("--dataset", shell_complete=DATASET, help="Dataset that defines channels, classes and size of --strategy")
@click.option("--trajectory", type=click.IntRange(2), help="Time N evenly spaced checkpoints of each run")
@click.option("--batch", "batches", default="1", show_default=True, help="Batch sizes separated by commas, or auto")
@click.option("--precision", "precisions", default="fp32", show_default=True, help="fp32, bf16, fp16, with commas")
@click.option(
    "--backend",
    "backends",
    help="eager, fast, compile, onnxruntime, openvino, with commas  [default: eager, onnxruntime if installed]",
)
@click.option("--shape", help="Spatial size such as 48,64,48  [default: the dataset's]")
@click.option("--seconds", default=20.0, show_default=True, help="Time budget per table, in seconds")
@table_options
@click.option("--output", type=click.Path(path_type=Path), help="Write the timings to a CSV file too")
@click.option("--record", is_flag=True, help="Keep the timings of recorded runs in the store, for leaderboards")
@compute_options("device", "threads", "allocator", "deterministic", "tf32")
@DATA_ROOT
@MAX_VOXELS
@RUNS
@form_options
@PLUGIN
def latency(
    runs: tuple[str, ...], strategies: str | None, settings: tuple[str, ...], dataset: str | None,
    trajectory: int | None, batches: str, precisions: str, backends: str | None, shape: str | None, seconds: float,
    table: TableStyle, output: Path | None, record: bool, compute: ComputeSettings, data_root: Path | None,
    runs_folder: Path, form: Form, plugins: tuple[Path, ...],
) -> int:  # fmt: skip
    """Time networks for a batch: recorded ones, their trajectories, or architectures that were never trained.

    The networks are timed in turns within each round, in one process; the others are compared with standard,
    else with the first one. Numbers that this machine is too noisy for are not printed.

    \b
    Example:
      stampbench latency --strategy standard,flat,pocket_unet,stamp_plus --dataset hippocampus
    """
    if record and (trajectory is not None or shape is not None):
        raise UserError("--record keeps timings of selected networks at their own size: no --trajectory, no --shape")
    if strategies and not dataset:
        raise UserError("--strategy needs --dataset, which defines channels, classes and size")
    discover_plugins(plugins)
    device = _configure(compute)
    request = None if dataset is None else form.request(dataset)

    from stampbench.benchmark.execution.timed_networks import find_networks

    found = find_networks(
        runs_folder,
        runs,
        trajectory,
        (parse_names(strategies or ""), parse_settings("--set", settings)),
        request,
        data_root,
    )
    found = found.at(parse_shape(shape, found.spatial_dims)) if shape else found
    cells = _cells(device, backends, precisions, batches)
    rows = _time(found, device, cells, seconds)
    frame = _frame(rows)
    _print(frame, table)
    if output is not None:
        from stampbench.reports.escape import spreadsheet

        write_output(output, spreadsheet(frame).to_csv(index=False))
    if record:
        from stampbench.benchmark.records.timings import record_timings

        echo(f"recorded in {record_timings(frame, runs_folder)}", err=True)
    if frame[["noisy_ratio", "noisy_time"]].to_numpy().any():
        warn("the machine is too noisy for some of these numbers; stop other programs, or raise --seconds")
    return 0


def _configure(compute: ComputeSettings) -> torch.device:
    from stampbench.benchmark.environment.allocator import keep_heap
    from stampbench.benchmark.environment.compute_settings import configure_process

    device = compute.torch_device
    configure_process(compute)
    if compute.allocator == "keep":
        keep_heap()
    return device


def _cells(
    device: torch.device, backends: str | None, precisions: str, batches: str
) -> list[tuple[str, str, int | None]]:
    """Return every combination of backend, precision and batch size, checked before anything is timed."""
    from stampbench.benchmark.environment.precision import HALF
    from stampbench.benchmark.measure.backends import BACKENDS, check_backend, default_backends

    cells = [
        (backend, precision, batch)
        for backend in (parse_known("backend", backends, BACKENDS) if backends else default_backends(device))
        for precision in parse_known("precision", precisions, ("fp32", *HALF))
        for batch in parse_batches(batches)
    ]
    for backend, precision, _ in cells:
        check_backend(device, backend, precision)  # type: ignore[arg-type]
    return cells


def _time(
    found: NetworksToTime, device: torch.device, cells: list[tuple[str, str, int | None]], seconds: float
) -> list[LatencyRow]:
    from stampbench.benchmark.environment.device import busy_warning
    from stampbench.benchmark.execution.timed_networks import time_cell

    if warning := busy_warning():
        warn(warning)
    rows: list[LatencyRow] = []
    for backend, precision, batch in cells:
        rows += time_cell(found, device, (backend, precision, batch), seconds, lambda text: echo(text, err=True))
    return rows


def _frame(rows: list[LatencyRow]) -> pd.DataFrame:
    import pandas as pd

    return pd.DataFrame([row.model_dump() for row in rows])


def _print(frame: pd.DataFrame, table: TableStyle) -> None:
    from stampbench.reports.escape import spreadsheet
    from stampbench.reports.latency import latency_listings, latency_tables

    style = table.format_for()
    if style == "md" and table.plain:
        echo(latency_tables(frame))
    elif style == "csv" and table.plain:  # all columns of the file that --output writes
        echo(spreadsheet(frame).to_csv(index=False), nl=False)
    else:
        print_listings(latency_listings(frame), table)
