"""`stampbench datasets export`: a dataset in the layout of another program."""

from __future__ import annotations

from pathlib import Path

import click

from stampbench.benchmark.cli.common import discover_plugins, echo
from stampbench.benchmark.cli.completion import DATASET
from stampbench.benchmark.cli.options import DATA_ROOT, MAX_VOXELS, Form, form_options


@click.command("export")
@click.argument("name", shell_complete=DATASET)
@click.option("--layout", type=click.Choice(["nnunet"]), required=True, help="Layout of nnU-Net v2")
@click.option(
    "--output",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Folder for the dataset's folder, such as nnUNet_raw  [default: this folder]",
)
@click.option("--number", type=click.IntRange(1, 999), default=501, show_default=True, help="Number of the dataset")
@form_options
@DATA_ROOT
@MAX_VOXELS
def export_dataset(name: str, layout: str, output: Path, number: int, form: Form, data_root: Path | None) -> None:
    """Write a dataset for another program, with this program's test cases apart.

    Images keep the grid of their files, and classes are numbered from 1.

    \b
    Example:
      stampbench datasets export busi.yaml --layout nnunet --output nnUNet_raw --number 502
    """
    from stampbench.benchmark.environment.progress import Progress
    from stampbench.datasets.nnunet_layout import folder_name, write_nnunet

    discover_plugins()
    dataset = form.request(name).open(data_root)
    folder = output / folder_name(number, dataset.name)
    with Progress(dataset.name, 1) as progress:
        training, test = write_nnunet(
            dataset, folder, lambda done, total: progress.case(done, total, "writing")
        )  # fmt: skip
    echo(f"{folder}: {training} training cases, and {test} test cases in imagesTs and labelsTs")
    echo(f"next: nnUNetv2_plan_and_preprocess -d {number} --verify_dataset_integrity")
