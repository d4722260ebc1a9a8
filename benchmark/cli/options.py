"""Option blocks that several commands share."""

from __future__ import annotations

import functools
import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from stampbench.benchmark.cli import completion
from stampbench.benchmark.errors import UserError
from stampbench.datasets.formats import voxel_limit

if TYPE_CHECKING:
    from stampbench.benchmark.config.dataset_request import DatasetRequest

Command = Callable[..., Any]

DATA_ROOT = click.option(
    "--data-root",
    envvar="STAMPBENCH_DATA",
    type=click.Path(path_type=Path),
    help="Folder that holds the named datasets' folders  [env: STAMPBENCH_DATA]",
)
FOLDER = click.option(
    "--folder", help="Folder or definition file of the dataset, if it is neither where it was nor below --data-root"
)


def _limit_voxels(context: click.Context, _: click.Parameter, value: int | None) -> None:
    """Set the limit where image readers look it up, in worker processes too; the old one returns with the end."""
    if value is not None:
        before = os.environ.get(voxel_limit.VARIABLE)
        os.environ[voxel_limit.VARIABLE] = str(value)
        context.call_on_close(
            lambda: (
                os.environ.pop(voxel_limit.VARIABLE)
                if before is None
                else os.environ.update({voxel_limit.VARIABLE: before})
            )
        )


MAX_VOXELS = click.option(
    "--max-voxels",
    type=click.IntRange(1, 10**15),
    expose_value=False,
    callback=_limit_voxels,
    help=f"Most voxels of an image, all channels together  [default: {voxel_limit.DEFAULT}]",
)
RUNS = click.option(
    "--runs",
    "runs_folder",
    type=click.Path(path_type=Path),
    default=Path("runs"),
    show_default=True,
    help="Folder of recorded runs",
)
PLUGIN = click.option(
    "--plugin",
    "plugins",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Python file that defines plug-in strategies, repeatable",
)
_COMPUTE = {
    "device": click.option("--device", default="auto", show_default=True, help="auto, cpu, cuda, cuda:N or mps"),
    "threads": click.option("--threads", type=click.IntRange(1, 1024), help="CPU threads  [default: one per core]"),
    "kernels": click.option(
        "--kernels",
        type=click.Choice(["fast", "plain"]),
        default="fast",
        show_default=True,
        help="fast: fused kernels on a CPU, CUDA graphs on a GPU; plain: PyTorch's modules",
    ),
    "allocator": click.option(
        "--allocator",
        type=click.Choice(["keep", "system"]),
        default="keep",
        show_default=True,
        help="keep: glibc keeps freed memory for reuse",
    ),
    "save_memory": click.option("--save-memory", is_flag=True, help="Activation checkpointing: less memory, slower"),
    "deterministic": click.option("--deterministic", is_flag=True, help="Use deterministic algorithms only"),
    "tf32": click.option("--tf32", is_flag=True, help="Allow TF32 on NVIDIA GPUs"),
    "cudnn_benchmark": click.option(
        "--cudnn-benchmark", is_flag=True, help="Let cuDNN time convolutions of each new shape on NVIDIA GPUs"
    ),
    "trajectory_test": click.option(
        "--trajectory-test", is_flag=True, help="After training, score the test cases at every checkpoint, for figures"
    ),
    "save_every": click.option(
        "--save-every",
        default=10.0,
        show_default=True,
        type=click.FloatRange(0),
        help="Seconds between saved resume states",
    ),
}
_EXECUTORS = {
    "executor": click.option(
        "--executor",
        type=click.Choice(["serial", "local", "ray", "slurm"]),
        help="serial: in this process; local: in workers  [default: serial; local if --jobs > 1 or --gpus]",
    ),
    "jobs": click.option(
        "--jobs",
        default=1,
        show_default=True,
        type=click.IntRange(1),
        help="local: runs at a time, which share threads",
    ),
    "gpus": click.option(
        "--gpus",
        default=0.0,
        type=click.FloatRange(0),
        show_default=True,
        help="local: GPUs to share out; ray: fraction per run; slurm: per job",
    ),
    "ray_address": click.option("--ray-address", help="ray: address  [default: the cluster around, or a new one here]"),
    "partition": click.option("--partition", help="slurm: partition"),
    "memory_gb": click.option(
        "--memory-gb",
        default=8.0,
        show_default=True,
        type=click.FloatRange(0, min_open=True),
        help="slurm: GB of a job",
    ),
    "minutes": click.option(
        "--minutes", default=24 * 60, show_default=True, type=click.IntRange(1), help="slurm: time limit of a job"
    ),
}
_FORM = {
    "spatial_dims": click.option(
        "--spatial-dims", type=click.Choice(["2", "3"]), help="2 cuts the volumes of a folder into slices"
    ),
    "subject_pattern": click.option(
        "--subject-pattern", help="Regular expression; its first group in a case id is the subject"
    ),
    "split_version": click.option(
        "--split-version",
        type=click.Choice(["1", "2"]),
        help="1: the split depends on the dataset's name, as in older runs; 2: on ids only",
    ),
    "image_size": click.option("--image-size", metavar="AxBxC", help="Size of the images that networks see; see --fit"),
    "fit": click.option(
        "--fit",
        type=click.Choice(["pad", "resize"]),
        help="pad: pad and crop images around their centre; resize: keep them whole  [default: pad for folders]",
    ),
    "patch_size": click.option("--patch-size", metavar="AxBxC", help="Patch size of training; none: whole images"),
}
_FILTERS = {
    "dataset": click.option("--dataset", shell_complete=completion.RECORDED_DATASET, help="Only this dataset"),
    "n_train": click.option("--n-train", type=int, help="Only this training size"),
    "protocol": click.option(
        "--protocol", shell_complete=completion.RECORDED_PROTOCOL, help="Only this protocol, as tables name it"
    ),
    "strategies": click.option(
        "--strategy",
        "strategies",
        multiple=True,
        shell_complete=completion.RECORDED_STRATEGY,
        help="Only this strategy, as tables name it; repeatable",
    ),
    "labels": click.option(
        "--label",
        "labels",
        multiple=True,
        metavar="NAME=LABEL",
        help="Call strategy NAME by a label, in output and other options; repeatable",
    ),
}


def _block(argument: str, options: dict[str, Any], make: Callable[..., Any]) -> Callable[[Command], Command]:
    """Return a decorator that adds options to a command and passes their values as one object."""

    def decorate(command: Command) -> Command:
        @functools.wraps(command)
        def wrapped(**values: Any) -> Any:
            own = {name: values.pop(name) for name in options}
            return command(**{argument: make(**own)}, **values)

        for option in reversed(options.values()):
            wrapped = option(wrapped)
        return wrapped

    return decorate


def compute_options(*names: str) -> Callable[[Command], Command]:
    """Add options of compute settings (all, or some by name); the command gets them as `compute`."""

    def make(**values: Any) -> Any:
        from stampbench.benchmark.config.validated import validated
        from stampbench.benchmark.environment.compute_settings import ComputeSettings

        return validated(ComputeSettings, "compute settings", values)

    return _block("compute", {name: _COMPUTE[name] for name in names or _COMPUTE}, make)


def executor_options(command: Command) -> Command:
    """Add the options of where runs are executed; the command gets them as `executors`."""

    def make(**values: Any) -> Any:
        from stampbench.benchmark.config.validated import validated
        from stampbench.benchmark.execution.launch import ExecutorSettings

        return validated(ExecutorSettings, "executor", values)

    return _block("executors", _EXECUTORS, make)(command)


class Form(NamedTuple):
    """The form in which networks see a dataset; None: as its definition says."""

    spatial_dims: str | None = None
    subject_pattern: str | None = None
    split_version: str | None = None
    image_size: str | None = None
    fit: str | None = None
    patch_size: str | None = None

    def request(self, name: str) -> DatasetRequest:
        """Return the request for a dataset in this form.

        Raises:
            UserError: when a size is not valid.
        """
        from pydantic import ValidationError

        from stampbench.benchmark.config.dataset_request import DatasetRequest
        from stampbench.benchmark.config.validated import explain

        numbers = {
            key: int(value)
            for key, value in (("spatial_dims", self.spatial_dims), ("split_version", self.split_version))
            if value is not None
        }
        try:
            return DatasetRequest.model_validate({"name": name, **self._asdict(), **numbers})
        except ValidationError as error:
            option = f"--{str(error.errors()[0]['loc'][0]).replace('_', '-')}"
            raise UserError(f"{option} '{error.errors()[0]['input']}': {explain(error)[1]}") from None


def form_options(command: Command) -> Command:
    """Add the options of a dataset's form; the command gets them as `form`."""
    return _block("form", _FORM, Form)(command)


if TYPE_CHECKING:
    _NumberType = click.ParamType[float]
else:
    _NumberType = click.ParamType  # not generic in the oldest supported version of click


class NumberWithUnit(_NumberType):
    """A number above 0, with k, M or G behind it if it is large."""

    name = "number"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Return the number."""
        factor = {"k": 1e3, "m": 1e6, "g": 1e9}.get(str(value).strip()[-1:].lower(), 1.0)
        try:
            number = float(str(value).strip()[: -1 if factor > 1 else None]) * factor
        except ValueError:
            number = math.nan
        if not 0 < number < math.inf:
            self.fail(f"'{value}' is not a number above 0, such as 20k, 1.5M or 0.9", param, ctx)
        return number


class RecordFilter(NamedTuple):
    """Which finished runs a command shows, and how it calls their strategies; None and empty: all, as recorded."""

    dataset: str | None = None
    n_train: int | None = None
    protocol: str | None = None
    strategies: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()


def filter_options(*, strategies: bool = True) -> Callable[[Command], Command]:
    """Add the options that filter records; the command gets them as `chosen`."""
    names = [name for name in _FILTERS if strategies or name != "strategies"]
    return _block("chosen", {name: _FILTERS[name] for name in names}, RecordFilter)
