"""`stampbench export`: a recorded network in a file that runs elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click

from stampbench.benchmark.cli.common import echo
from stampbench.benchmark.cli.completion import RUN
from stampbench.benchmark.cli.hints import hint
from stampbench.benchmark.cli.options import DATA_ROOT, FOLDER, MAX_VOXELS, RUNS
from stampbench.benchmark.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from stampbench.benchmark.records.reinference import Reinference
    from stampbench.benchmark.records.schema import Record


@click.command()
@click.argument("run", shell_complete=RUN)
@click.option(
    "--format", "form", type=click.Choice(["onnx", "pt2"]), default="onnx", show_default=True, help="File format"
)
@click.option("--output", type=click.Path(path_type=Path), help="File  [default: RUN.onnx or RUN.pt2, here]")
@FOLDER
@DATA_ROOT
@MAX_VOXELS
@RUNS
def export(
    run: str, form: Literal["onnx", "pt2"], output: Path | None, folder: str | None, data_root: Path | None,
    runs_folder: Path,
) -> None:  # fmt: skip
    """Write a recorded network to a file that needs neither this package nor its code.

    The file accepts any number of images, of any size that is a multiple of 2^depth, and returns logits. It
    is kept only if its logits equal the recorded network's, on a case of the dataset if the data is present.

    \b
    Example:
      stampbench export 0123456789ab --format onnx --output prostate.onnx
    """
    from stampbench.benchmark.inference.export import export as write
    from stampbench.benchmark.records.reinference import Reinference
    from stampbench.benchmark.records.run_store import RunStore

    store = RunStore(runs_folder)
    model, record = store.model(run)
    path = output or Path(f"{record.id}.{form}")
    images, origin = _images(record, Reinference(store, data_root, folder))
    error = write(model, images, path, form)
    classes = ", ".join(record.dataset.classes)
    sizes = " × ".join(f"{divisor}·n" if divisor > 1 else "n" for divisor in model.architecture.divisors)
    echo(f"{path}: {model.architecture.in_channels} channels of size {sizes} in, logits of {classes} out")
    echo(f"largest difference {error:.1e} of the largest logit, on {origin}")


def _images(record: Record, reinference: Reinference) -> tuple[Tensor, str]:
    """Return a case of the run's dataset if the data is present, else noise, and a name for it."""
    import torch

    from stampbench.datasets.errors import DatasetError

    identity = record.spec.dataset
    try:
        dataset = reinference.dataset(record)
        case = dataset.reader.cases[0].id
        images = torch.from_numpy(dataset.prepare([case])[case].images[:4].copy())
        return images[(slice(None), slice(None), *(slice(edge) for edge in identity.seen))], f"case {case}"
    except (UserError, DatasetError) as error:
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(1, len(record.dataset.channels), *identity.seen, generator=generator)
        return noise, f"noise, because of the data: {error}{hint(error.setting)}"
