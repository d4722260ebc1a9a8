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
    from stampbench.models.model import Model

_BF16 = "OpenVINO computes them in bf16 if its INFERENCE_PRECISION_HINT says so"


@click.command()
@click.argument("run", shell_complete=RUN)
@click.option(
    "--format", "form", type=click.Choice(["onnx", "pt2"]), default="onnx", show_default=True, help="File format"
)
@click.option(
    "--precision",
    type=click.Choice(["fp32", "int8", "bf16"]),
    help="int8: quantise with training images of the run  [default: fp32; of an int8 run int8]",
)
@click.option("--output", type=click.Path(path_type=Path), help="File  [default: RUN.onnx or RUN.pt2, here]")
@FOLDER
@DATA_ROOT
@MAX_VOXELS
@RUNS
def export(
    run: str, form: Literal["onnx", "pt2"], precision: str | None, output: Path | None, folder: str | None,
    data_root: Path | None, runs_folder: Path,
) -> None:  # fmt: skip
    """Write a recorded network to a file that needs neither this package nor its code.

    The file accepts any number of images, of any size that is a multiple of 2^depth, and returns logits. It
    is kept only if its logits equal the recorded network's, on a case of the dataset if the data is present.

    An int8 file has other logits. It needs the data: ranges of activations are found on training images of the
    run's fold, and labels and Dice are compared on its validation cases.

    \b
    Example:
      stampbench export 0123456789ab --format onnx --output prostate.onnx
    """
    from stampbench.benchmark.records.reinference import Reinference
    from stampbench.benchmark.records.run_store import RunStore

    if output is not None and output.suffix != f".{form}":
        raise UserError(f"--output '{output}': a file of the format {form} ends in .{form}")
    model, record = RunStore(runs_folder).model(run)
    low = record.spec.test_precision
    chosen = precision or ("int8" if low == "int8" else "fp32")
    path = output or Path(f"{record.id}.{form}")
    _check_precision(chosen, form)
    reference = Reinference(RunStore(runs_folder), data_root, folder)
    line = _int8(model, record, reference, path) if chosen == "int8" else _fp32(model, record, reference, path, form)
    classes = ", ".join(record.dataset.classes)
    sizes = " × ".join(f"{divisor}·n" if divisor > 1 else "n" for divisor in model.architecture.divisors)
    echo(f"{path}: {model.architecture.in_channels} channels of size {sizes} in, logits of {classes} out")
    echo(line)
    if low == "bf16" and chosen == "fp32":
        echo(f"fp32 weights of a run in bf16; {_BF16}")


def _check_precision(precision: str, form: str) -> None:
    if precision == "bf16":
        raise UserError(
            "precision 'bf16': there is no such file, because ONNX Runtime has no bf16 convolutions on a CPU; export "
            f"fp32 weights: {_BF16}",
            setting="precision",
        )
    if precision == "int8" and form != "onnx":
        raise UserError(f"format '{form}': int8 networks are written as onnx only", setting="precision")


def _fp32(model: Model, record: Record, reinference: Reinference, path: Path, form: Literal["onnx", "pt2"]) -> str:
    from stampbench.benchmark.inference.export import export as write

    images, origin = _images(record, reinference)
    error = write(model, images, path, form)
    return f"largest difference {error:.1e} of the largest logit, on {origin}"


def _int8(model: Model, record: Record, reinference: Reinference, path: Path) -> str:
    from stampbench.benchmark.inference.low_precision import export_int8
    from stampbench.benchmark.measure.agreement import agreement

    dataset = reinference.dataset(record)
    validation = dataset.prepare({image.case for image in reinference.split(record).validation})
    session = export_int8(model, reinference.calibration_images(record), path)
    model.kernels = "fast"
    found = agreement(model, session, list(validation.values()), dataset.classes, record.evaluation)
    share, dice = f"{found.equal:.2%} of labels equal those of fp32", f"Dice {found.after:.4f}, fp32 {found.before:.4f}"
    return f"int8: {share}, {dice}, on {len(validation)} validation cases; {path.stat().st_size:,} bytes"


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
