"""`stampbench export`: a recorded network in a file that runs elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from stampbench.benchmark.cli.options import DATA_ROOT, RUNS
from stampbench.benchmark.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from stampbench.benchmark.records.schema import Record


@click.command()
@click.argument("run")
@click.option(
    "--format", "form", type=click.Choice(["onnx", "pt2"]), default="onnx", show_default=True, help="File format"
)
@click.option("--output", type=click.Path(path_type=Path), help="File  [default: RUN.onnx or RUN.pt2, here]")
@DATA_ROOT
@RUNS
def export(
    run: str, form: Literal["onnx", "pt2"], output: Path | None, data_root: Path | None, runs_folder: Path
) -> None:
    """Write a recorded network to a file that needs neither this package nor its code.

    The file accepts any number of images, of any size that is a multiple of 2^depth, and returns logits. It
    is kept only if its logits equal the recorded network's, on a case of the dataset if the data is present.

    \b
    Example:
      stampbench export 0123456789ab --format onnx --output prostate.onnx
    """
    from stampbench.benchmark.inference.export import export as write
    from stampbench.benchmark.records.run_store import RunStore

    model, record = RunStore(runs_folder).model(run)
    path = output or Path(f"{record.id}.{form}")
    images, origin = _images(record, data_root)
    error = write(model, images, path, form)
    classes = ", ".join(record.dataset.classes)
    sizes = " × ".join(f"{divisor}·n" if divisor > 1 else "n" for divisor in model.architecture.divisors)
    click.echo(f"{path}: {model.architecture.in_channels} channels of size {sizes} in, logits of {classes} out")
    click.echo(f"compared on {origin}: largest difference {error:.1e} of the largest logit")


def _images(record: Record, data_root: Path | None) -> tuple[Tensor, str]:
    """Return a case of the run's dataset if the data is present, else noise, and a name for it."""
    import torch

    from stampbench.benchmark.api import open_dataset
    from stampbench.datasets.errors import DatasetError

    identity = record.spec.dataset
    channels = len(record.dataset.channels)
    try:
        dataset = open_dataset(identity.name, data_root=data_root)
        case = dataset.reader.cases[0].id
        images = torch.from_numpy(dataset.prepare([case])[case].images[:4].copy())
        images = images[(slice(None), slice(None), *(slice(edge) for edge in identity.seen))]
        if tuple(images.shape[1:]) == (channels, *identity.seen):
            return images, f"case {case}"
    except (UserError, DatasetError):
        pass
    generator = torch.Generator().manual_seed(0)
    return torch.randn(1, channels, *identity.seen, generator=generator), "noise, because the dataset is not present"
