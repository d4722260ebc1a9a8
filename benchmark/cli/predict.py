"""`stampbench predict`: segmentation of images with a recorded network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from stampbench.benchmark.cli.common import echo, warn
from stampbench.benchmark.cli.completion import RUN
from stampbench.benchmark.cli.options import MAX_VOXELS, RUNS, compute_options
from stampbench.benchmark.errors import UserError

if TYPE_CHECKING:
    from stampbench.benchmark.environment.compute_settings import ComputeSettings


@click.command()
@click.argument("run", shell_complete=RUN)
@click.argument("images", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", required=True, type=click.Path(path_type=Path), help="Folder for the label maps")
@click.option("--force", is_flag=True, help="Overwrite existing label maps")
@click.option("--time", "timed", is_flag=True, help="Print how long each part took")
@compute_options("device", "threads", "kernels", "allocator", "deterministic", "tf32")
@MAX_VOXELS
@RUNS
def predict(
    run: str, images: tuple[Path, ...], output: Path, force: bool, timed: bool, compute: ComputeSettings,
    runs_folder: Path,
) -> None:  # fmt: skip
    """Segment images with a recorded network; label maps have the grid of their images.

    An IMAGE is a file in a format of datasets, or a folder of them; orientation, spacing and shape are
    restored. An image larger than the training images is segmented with a sliding window, and a warning
    says if it has another scale.

    \b
    Example:
      stampbench predict 0123456789ab scan.nii.gz --output labels
    """
    from stampbench.benchmark.environment.part_times import PartTimes

    times = PartTimes()
    with times.part("starting"):
        from stampbench.benchmark.environment.allocator import keep_heap
        from stampbench.benchmark.environment.compute_settings import configure_process
        from stampbench.benchmark.inference.image_files import find_images, output_paths, segment_file
        from stampbench.benchmark.inference.image_scale import scale_warning
        from stampbench.benchmark.records.run_store import RunStore
        from stampbench.models.folded import folded

        device = compute.torch_device
        configure_process(compute)
        if compute.allocator == "keep":
            keep_heap()
        model, record = RunStore(runs_folder).model(run)
        if low := record.spec.test_precision:
            raise UserError(f"run {record.id} is computed in {low}, and predict computes in fp32: name its parent run")
        model.kernels = compute.kernels
        if compute.kernels == "fast" and device.type == "cpu":
            model = folded(model)
    paths = find_images(images, len(record.dataset.channels))
    for path, map_path in zip(paths, output_paths(paths, output, force=force), strict=True):
        if warning := scale_warning(path, record.dataset):
            warn(warning)
        written = segment_file(
            model,
            path,
            map_path,
            preprocessing=record.dataset.preprocessing,
            values=record.dataset.values,
            settings=record.evaluation,
            device=device,
            times=times,
        )
        click.echo(written)
    if timed:
        echo(times.table(), err=True)
