"""`stampbench latency`: inference latency of networks, compared in interleaved timing."""

from __future__ import annotations

import math
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
    from stampbench.benchmark.environment.precision import Precision
    from stampbench.benchmark.execution.timed_networks import NetworksToTime
    from stampbench.benchmark.measure.latency import Cell


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
@click.option(
    "--precision", "precisions", default="fp32", show_default=True, help="fp32, bf16, fp16, int8, with commas"
)
@click.option(
    "--backend",
    "backends",
    help="eager, fast, compile, cudagraph, onnxruntime, onnxruntime-cuda, tensorrt, openvino; with commas",
)
@click.option("--timing", "timings", help="wall, kernels, throughput, with commas")
@click.option("--shape", help="Spatial size such as 48,64,48  [default: the dataset's]")
@click.option(
    "--seconds",
    default=20.0,
    show_default=True,
    type=click.FloatRange(0.01, 86_400),
    help="Seconds of timing per table; export and warm-up come on top",
)
@table_options
@click.option("--output", type=click.Path(dir_okay=False, path_type=Path), help="Write the timings to a CSV file too")
@click.option(
    "--rounds",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write every round, with the GPU's state, to a CSV file",
)
@click.option("--record", is_flag=True, help="Keep the timings of recorded runs in the store, for leaderboards")
@compute_options("device", "threads", "allocator", "deterministic", "tf32")
@DATA_ROOT
@MAX_VOXELS
@RUNS
@form_options
@PLUGIN
def latency(
    runs: tuple[str, ...], strategies: str | None, settings: tuple[str, ...], dataset: str | None,
    trajectory: int | None, batches: str, precisions: str, backends: str | None, timings: str | None,
    shape: str | None, seconds: float, table: TableStyle, output: Path | None, rounds: Path | None, record: bool,
    compute: ComputeSettings, data_root: Path | None, runs_folder: Path, form: Form, plugins: tuple[Path, ...],
) -> int:  # fmt: skip
    """Time networks for a batch: recorded ones, their trajectories, or architectures that were never trained.

    The networks are timed in turns within each round, in one process; the others are compared with standard,
    else with the first one. Numbers that this machine is too noisy for are not printed, and rounds in which a
    GPU throttles are discarded.

    Without --backend, eager is timed, cudagraph on a GPU, and ONNX Runtime if it is installed. Without
    --timing, it is the wall clock, and on a GPU also the kernels (cudagraph only) and the throughput.

    \b
    Example:
      stampbench latency --strategy standard,flat,pocket_unet,stamp_plus --dataset hippocampus
    """
    if record and shape is not None:
        raise UserError("--record keeps timings of networks at their own size: no --shape")
    if strategies and not dataset:
        raise UserError("--strategy needs --dataset, which defines channels, classes and size")
    if trajectory and not runs:
        raise UserError("--trajectory needs runs, whose checkpoints are timed")
    if settings and not strategies:
        raise UserError("--set needs --strategy, whose untrained networks it changes")
    if math.isnan(seconds):
        raise UserError("--seconds 'nan' is not a number of seconds")
    discover_plugins(plugins)
    device = _configure(compute)
    request = None if dataset is None else form.request(dataset)

    from stampbench.benchmark.execution.timed_networks import find_networks
    from stampbench.benchmark.measure.latency_row import LatencyRow

    table.check(LatencyRow.model_fields)
    found = find_networks(
        runs_folder,
        runs,
        trajectory,
        (parse_names(strategies or ""), parse_settings("--set", settings)),
        request,
        data_root,
    )
    found = found.at(parse_shape(shape, found.spatial_dims)) if shape else found
    cells = _cells(device, backends, precisions, (batches, timings), set(found.precisions.values()))
    if record:
        from stampbench.benchmark.records.timings import check_recorded

        check_recorded(found.networks, runs_folder)
    frame, every_round = _time(found, device, cells, seconds)
    _print(frame, table)
    for path, content in ((output, frame), (rounds, every_round)):
        if path is not None:
            from stampbench.reports.escape import spreadsheet

            write_output(path, spreadsheet(content).to_csv(index=False))
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
    # Each network keeps its shapes, so that cuDNN's search is worth its time, as the one of ONNX Runtime is.
    configure_process(compute.model_copy(update={"cudnn_benchmark": not compute.deterministic}))
    if compute.allocator == "keep":
        keep_heap()
    return device


def _cells(
    device: torch.device, backends: str | None, precisions: str, sizes: tuple[str, str | None], own: set[Precision]
) -> list[Cell]:
    """Return every combination of backend, precision, batch size and timing, checked before anything is timed.

    A combination that a default backend does not support is left out, unless none is left.

    Args:
        device: the device.
        backends: names of backends; None: those of the device.
        precisions: names of precisions.
        sizes: batch sizes, and names of timings; None: those that a backend has.
        own: precisions that networks have of their own.
    """
    from stampbench.benchmark.environment.precision import HALF
    from stampbench.benchmark.measure.backends import BACKENDS, default_backends
    from stampbench.benchmark.measure.latency import Cell, check_cell, default_timings
    from stampbench.benchmark.measure.latency_row import TIMINGS

    batches, timings = sizes
    cells = []
    for backend in parse_known("backend", backends, BACKENDS) if backends else default_backends(device):
        for timing in parse_known("timing", timings, TIMINGS) if timings else default_timings(device, backend):  # type: ignore[arg-type]
            for precision in parse_known("precision", precisions, ("fp32", *HALF, "int8")):
                found = parse_batches(batches) if timing != "throughput" else [None]
                cells += [Cell(backend, precision, batch, timing) for batch in found]  # type: ignore[arg-type]
    supported: list[Cell] = []
    problem: UserError | None = None
    for cell in cells:
        try:
            for each in [cell.precision, *sorted(own)]:
                check_cell(device, cell._replace(precision=each))
        except UserError as error:
            if backends:
                raise
            problem = error
        else:
            supported.append(cell)
    if problem is not None and not supported:
        raise problem
    return supported


def _time(
    found: NetworksToTime, device: torch.device, cells: list[Cell], seconds: float
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return a row per timing, and a row per round and network."""
    import pandas as pd

    from stampbench.benchmark.environment.device import busy_warning
    from stampbench.benchmark.environment.nvml import unread_warning
    from stampbench.benchmark.execution.timed_networks import time_cell

    for warning in (busy_warning(), unread_warning(device)):
        if warning:
            warn(warning)
    rows: list[dict[str, object]] = []
    rounds: list[dict[str, object]] = []
    for cell in cells:
        timed, of_cell = time_cell(found, device, cell, seconds, lambda text: echo(text, err=True))
        rows += [row.model_dump() for row in timed]
        for number, each in enumerate(of_cell):
            state = each.state._asdict() | {"throttling": "; ".join(each.state.throttling)} if each.state else {}
            common = cell._asdict() | {"round": number}
            for row in timed:
                own = {"network": row.network, "precision": row.precision, "batch": row.batch}
                rounds.append(common | own | {"ms": each.milliseconds[row.network]} | state)
    return pd.DataFrame(rows), pd.DataFrame(rounds)


def _print(frame: pd.DataFrame, table: TableStyle) -> None:
    from stampbench.reports.latency import latency_listings, latency_tables

    style = table.format_for()
    if style == "md" and table.plain:
        echo(latency_tables(frame))
    else:
        print_listings(latency_listings(frame), table)
