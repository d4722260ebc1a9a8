"""Commands that use networks: how fast they are, out of here, on new images; and what this machine has for it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

from stampbench.benchmark.cli.options import (
    DEVICE,
    PLUGIN,
    ROOT,
    RUNS,
    THREADS,
    View,
    dataset_options,
    load_plugins,
    open_named,
    write_output,
)  # fmt: skip
from stampbench.benchmark.errors import UserError

if TYPE_CHECKING:
    from stampbench.benchmark.records.run_store import RunStore
    from stampbench.models.network import Network


@click.command()
@click.argument("runs", nargs=-1, metavar="[RUN]...")
@click.option("--strategy", "strategies", help="Names with commas between: recorded on --dataset, else never trained")
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="A hyperparameter of --strategy such as f=32, repeatable; then none of them is a recorded one",
)
@click.option("--dataset", help="Whose channels, classes and size the networks of --strategy have")
@click.option(
    "--trajectory", type=click.IntRange(2), help="Of each RUN so many checkpoints instead of the selected one"
)
@click.option("--batch", "batches", default="1", show_default=True, help="Sizes with commas between; auto saturates")
@click.option("--precision", "precisions", default="fp32", show_default=True, help="fp32, bf16, fp16; commas between")
@click.option(
    "--backend",
    "backends",
    help="eager, fast, compile, onnxruntime, openvino; commas between  [default: eager, and onnxruntime if installed]",
)
@click.option("--shape", help="Spatial size such as 48,64,48  [default: the dataset's]")
@click.option("--seconds", default=20.0, show_default=True, help="The most that measuring one table takes")
@click.option("--output", type=click.Path(path_type=Path), help="Write the timings to a CSV file too")
@click.option("--record", is_flag=True, help="Keep the timings of recorded runs in the store, for leaderboards")
@DEVICE
@THREADS
@RUNS
@dataset_options
@PLUGIN
def latency(
    runs: tuple[str, ...], strategies: str | None, settings: tuple[str, ...], dataset: str | None,
    trajectory: int | None, batches: str,
    precisions: str, backends: str | None, shape: str | None, seconds: float, output: Path | None, record: bool,
    device: str,
    threads: int | None, runs_folder: Path, view: View, plugins: tuple[Path, ...],
) -> int:  # fmt: skip
    """How long networks take for a batch: recorded ones, their trajectories, or shapes that were never trained.

    The networks take turns in one process; standard, else the first one, is what the others are compared with.
    A number that this machine is too noisy to tell is not printed.

    \b
    Example:
      stampbench latency --strategy standard,flat,pocket_unet,stamp_plus --dataset hippocampus
    """
    import pandas as pd
    import torch

    from stampbench.benchmark.environment.compute_settings import HALF, busy_warning, set_up_process
    from stampbench.benchmark.environment.provenance import choose_device, timing_machine
    from stampbench.benchmark.measure.backends import BACKENDS, check, default_backends
    from stampbench.benchmark.measure.latency import saturating_batch, time_networks
    from stampbench.benchmark.records.run_store import RunStore
    from stampbench.benchmark.records.tables import record_timings
    from stampbench.reports.latency import latency_tables

    if record and (trajectory is not None or shape is not None):
        raise UserError("--record keeps the times of selected networks at their own size: no --trajectory, no --shape")
    load_plugins(plugins)
    where = choose_device(device)
    set_up_process(threads, keep_heap=True)
    store = RunStore(runs_folder)
    networks, size = _recorded(store, runs, trajectory)
    if strategies:
        if not dataset:
            raise UserError("--strategy needs --dataset, whose channels, classes and size the networks get")
        named, size = _named(store, strategies, settings, dataset, view)
        networks = named | networks
    if not networks:
        raise UserError("nothing to time: name runs, or --strategy and --dataset")
    size = _size(shape, networks) if shape else size
    if size is None:
        raise UserError("these runs have images of different sizes; --shape says which to time")
    # What everything is compared with stands first: the standard network, where it is among them.
    networks = dict(sorted(networks.items(), key=lambda item: item[0].split()[0] != "standard"))
    _check_alike(networks, size)
    first = next(iter(networks.values()))
    asked = [
        (backend, precision, batch)
        for backend in (_split("backend", backends, BACKENDS) if backends else default_backends(where))
        for precision in _split("precision", precisions, ("fp32", *HALF))
        for batch in map(_batch, batches.split(","))
    ]
    for backend, precision, _ in asked:  # before anything is timed
        check(where, backend, precision)  # type: ignore[arg-type]
    if warning := busy_warning():
        click.echo(f"warning: {warning}", err=True)
    torch.manual_seed(0)
    image = torch.randn(1, first.architecture.in_channels, *size, device=where)
    machine = timing_machine(where)
    rows: list[dict[str, Any]] = []
    for backend, precision, batch in asked:
        number = batch or saturating_batch(first, image, backend, precision)  # type: ignore[arg-type]
        rows += time_networks(
            networks,
            image.repeat(number, *[1] * (image.ndim - 1)),
            backend,  # type: ignore[arg-type]
            precision,  # type: ignore[arg-type]
            seconds=seconds,
            report=lambda text: click.echo(text, err=True),
        )
    frame = pd.DataFrame([row | machine for row in rows])
    click.echo(latency_tables(frame))
    if output is not None:
        write_output(output, frame.to_csv(index=False))
    if record:
        click.echo(f"recorded in {record_timings(frame, runs_folder)}", err=True)
    if frame[["noisy_ratio", "noisy_time"]].to_numpy().any():
        click.echo(
            "warning: the machine is too noisy for some of these numbers; end what else runs on it, or raise --seconds",
            err=True,
        )
    return 0


@click.command()
@click.argument("run")
@click.option("--format", "form", type=click.Choice(["onnx", "pt2"]), default="onnx", show_default=True)
@click.option("--output", type=click.Path(path_type=Path), help="File  [default: RUN.onnx or RUN.pt2, here]")
@ROOT
@RUNS
def export(
    run: str, form: Literal["onnx", "pt2"], output: Path | None, data_root: Path | None, runs_folder: Path
) -> None:
    """Write a recorded network to a file that needs neither this package nor its code.

    The file takes any number of images, of any size that is a multiple of 2^depth, and gives logits. It is
    kept only if it computes what the recorded network does, on a case of the dataset where that is present.

    \b
    Example:
      stampbench export 0123456789ab --format onnx --output prostate.onnx
    """
    from stampbench.benchmark.inference.export import export as write
    from stampbench.benchmark.records.run_store import RunStore

    model, record = RunStore(runs_folder).model(run)
    path = output or Path(f"{record['id']}.{form}")
    images, origin = _case_images(record, data_root)
    error = write(model, images, path, form)
    classes = ", ".join(record["dataset"]["classes"])
    sizes = " × ".join(f"{divisor}·n" if divisor > 1 else "n" for divisor in model.architecture.divisors)
    click.echo(f"{path}: {model.architecture.in_channels} channels of size {sizes} in, logits of {classes} out")
    click.echo(f"compared on {origin}: largest difference {error:.1e} of the largest logit")


@click.command()
@click.argument("run")
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder for the label maps")
@click.option("--force", is_flag=True, help="Write over label maps that are there")
@DEVICE
@THREADS
@RUNS
def predict(
    run: str, images: tuple[Path, ...], output: Path, force: bool, device: str, threads: int | None, runs_folder: Path
) -> None:  # fmt: skip
    """Segment images with a recorded network; label maps lie over their images in a viewer.

    NIfTI, PNG or TIFF, as the dataset's images were; orientation, spacing and shape are restored. An image
    larger than those it was trained on is segmented in overlapping windows.

    \b
    Example:
      stampbench predict 0123456789ab scan.nii.gz --output labels
    """
    from stampbench.benchmark.config.spec import DatasetIdentity
    from stampbench.benchmark.environment.compute_settings import set_up_process
    from stampbench.benchmark.environment.provenance import choose_device
    from stampbench.benchmark.inference.image_files import output_paths, segment_file
    from stampbench.benchmark.records.run_store import RunStore
    from stampbench.datasets.preprocessing_config import PreprocessingConfig

    where = choose_device(device)
    set_up_process(threads, keep_heap=True)
    model, record = RunStore(runs_folder).model(run)
    model.kernels = "fast"
    data, spec = record["dataset"], record["spec"]
    for path, map_path in zip(images, output_paths(images, output, force=force), strict=True):
        written = segment_file(
            model,
            path,
            map_path,
            preprocessing=PreprocessingConfig.model_validate(data.get("recipe", spec["dataset"])),
            window=DatasetIdentity.model_validate(spec["dataset"]).seen,
            values=data.get("values", list(range(len(data["classes"])))),
            device=where,
            postprocessing=spec["protocol"]["postprocessing"],
        )
        click.echo(written)


@click.command()
@ROOT
def doctor(data_root: Path | None) -> None:
    """What this machine has, what is missing, and how to get it.

    \b
    Example:
      stampbench doctor
    """
    from stampbench.benchmark.cli.options import find_datasets
    from stampbench.benchmark.environment.diagnostics import diagnose
    from stampbench.datasets.cache import cache_folder

    find_datasets()
    for finding in diagnose(data_root, cache_folder()):
        advice = f"  → {finding.advice}" if finding.advice else ""
        click.echo(f"{finding.what:20} {finding.found}{advice}")


def _recorded(
    store: RunStore, runs: tuple[str, ...], trajectory: int | None
) -> tuple[dict[str, Network], tuple[int, ...] | None]:
    """The networks of recorded runs by a name that tells them apart, and their size where it is the same."""
    import numpy as np
    import pandas as pd

    from stampbench.benchmark.config.spec import DatasetIdentity
    from stampbench.models.network import build, parse_architecture

    networks: dict[str, Network] = {}
    sizes: set[tuple[int, ...]] = set()
    for text in runs:
        folder, record = store.find(text)
        sizes.add(DatasetIdentity.model_validate(record["spec"]["dataset"]).seen)
        name = f"{record['label']} {record['id']}"
        if trajectory is None:
            networks[name] = store.model(text)[0]
            continue
        rows = pd.read_csv(folder / "trajectory.csv")
        for step in sorted(set(np.linspace(0, len(rows) - 1, trajectory).round().astype(int))):
            # Weights do not matter for time, so those that were not kept need not be.
            networks[f"{name} step {step}"] = build(parse_architecture(rows["architecture"][step]))
    return networks, sizes.pop() if len(sizes) == 1 else None


def _named(
    store: RunStore, names: str, settings: tuple[str, ...], dataset: str, view: View
) -> tuple[dict[str, Network], tuple[int, ...]]:
    """For each strategy the latest network recorded on the dataset, else the one that it starts with."""
    from stampbench.benchmark.config.resolve import resolve_protocol, resolve_strategies
    from stampbench.benchmark.config.spec import DatasetIdentity
    from stampbench.models.network import build

    opened = open_named(dataset, view)
    networks: dict[str, Network] = {}
    recorded: dict[str, tuple[str, Path, str]] = {}
    for folder, record in store.records([]):
        identity = DatasetIdentity.model_validate(record["spec"]["dataset"])
        if (identity.name, identity.seen) == (opened.name, opened.seen):
            name, ended = record["spec"]["strategy"], str(record.get("ended"))
            recorded[name] = max(recorded.get(name, ("", folder, "")), (ended, folder, record["id"]))
    for choice in resolve_strategies(names, resolve_protocol("paper", []), settings):
        if choice.name in recorded and not settings:
            _, folder, run = recorded[choice.name]
            networks[f"{choice.name} {run}"] = store.model(str(folder))[0]
        else:
            start = choice.strategy.start(opened.spatial_dims, len(opened.channels), len(opened.classes))
            networks[f"{choice.name} (untrained start)"] = build(start)  # weights do not matter for time
    return networks, opened.seen


def _size(shape: str, networks: dict[str, Network]) -> tuple[int, ...]:
    from stampbench.benchmark.config.resolve import resolve_edges

    dims, size = next(iter(networks.values())).architecture.spatial_dims, resolve_edges("--shape", shape)
    if len(size) != dims:
        raise UserError(f"--shape '{shape}': {dims} numbers are expected")
    return size


def _check_alike(networks: dict[str, Network], size: tuple[int, ...]) -> None:
    """What is compared has to take the same images."""
    architectures = {name: network.architecture for name, network in networks.items()}
    (first, one), *others = architectures.items()
    for name, other in others:
        if (other.spatial_dims, other.in_channels) != (one.spatial_dims, one.in_channels):
            raise UserError(
                f"'{first}' takes {one.in_channels} channels in {one.spatial_dims}D, '{name}' {other.in_channels} in "
                f"{other.spatial_dims}D; a table compares networks that take the same images"
            )
    for name, each in architectures.items():
        for edge, divisor in zip(size, each.divisors, strict=True):
            if edge % divisor:
                raise UserError(f"'{name}' needs sizes that are multiples of {divisor}, not {edge}")


def _case_images(record: dict[str, Any], data_root: Path | None) -> tuple[Any, str]:
    """A case of the run's dataset where that is present, else noise; and a word on which it is."""
    import torch

    from stampbench.benchmark.config.spec import DatasetIdentity
    from stampbench.datasets.errors import DatasetError

    identity = DatasetIdentity.model_validate(record["spec"]["dataset"])
    channels = len(record["dataset"]["channels"])
    try:
        dataset = open_named(identity.name, View(data_root))
        case = dataset.reader.cases[0].id
        images = torch.from_numpy(dataset.prepare([case])[case].images[:4].copy())
        images = images[(slice(None), slice(None), *(slice(edge) for edge in identity.seen))]
        if tuple(images.shape[1:]) == (channels, *identity.seen):
            return images, f"case {case}"
    except (UserError, DatasetError):
        pass
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(1, channels, *identity.seen, generator=generator)
    return noise, "noise, because the dataset is not here"


def _split(what: str, text: str, known: Iterable[str]) -> list[str]:
    from stampbench.benchmark.errors import unknown

    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise unknown(what, name, known)
    return names


def _batch(text: str) -> int | None:
    """A number of images; None stands for `auto`."""
    text = text.strip()
    if text != "auto" and (not text.isdecimal() or int(text) < 1):
        raise UserError(f"--batch '{text}' is neither a number of images nor 'auto'")
    return None if text == "auto" else int(text)
