"""Export of a network to ONNX or to PyTorch's exported program, which run without this package."""

from __future__ import annotations

import copy
import importlib.util
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.export import Dim, ExportedProgram

from stampbench.benchmark.errors import UserError
from stampbench.datasets.atomic_file import whole_file
from stampbench.models.model import Model

Format = Literal["onnx", "pt2"]
_MOST = 4096
"""Most images of a batch, and most voxels per axis, of an exported network."""
_TOLERANCE = 1e-4
"""Largest accepted difference from the original logits, relative to the largest of them."""


def export(model: Model, images: Tensor, path: Path, form: Format) -> float:
    """Export a network for any batch size and any spatial size that is a multiple of its divisors.

    The file is kept only if it computes the same logits as the network.

    Args:
        model: the network, in evaluation mode.
        images: `(N, channels, *spatial)`, to compare logits on; real images if possible.
        path: file to write.
        form: `onnx` or `pt2`.

    Returns:
        The largest difference of logits, relative to the largest logit.

    Raises:
        UserError: when a package is missing, the file cannot be written, or logits differ.
    """
    if form == "onnx":
        require("onnx", "onnxscript", "onnxruntime")
    program = exported_program(model, images.shape[1])
    try:
        with whole_file(path) as unfinished:
            if form == "onnx":
                write_onnx(program, unfinished)
                run = onnx_session(unfinished)
            else:
                torch.export.save(program, unfinished)
                run = _loaded(unfinished)
            error = max(
                _difference(model, run, each) for each in (images, images[:1].repeat(3, *[1] * (images.ndim - 1)))
            )
            if not error <= _TOLERANCE:
                raise UserError(f"{path}: not written: exported logits differ by {error:.1e} of the largest logit")
    except OSError as reason:
        raise UserError(f"cannot write {path}: {reason.strerror or reason}") from reason
    return error


def require(*packages: str, extra: str = "export") -> None:
    """Check that packages, which an extra of this package installs, are there.

    Raises:
        UserError: when one is missing; the message names the extra that installs it.
    """
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise UserError(f"package '{package}' is not installed; run: pip install 'stampbench[{extra}]'")


def write_onnx(program: ExportedProgram, path: Path) -> None:
    """Write one self-contained ONNX file; its input is `image`, its output `logits`."""
    with _quiet():
        converted = torch.onnx.export(
            program, dynamo=True, input_names=["image"], output_names=["logits"], verbose=False
        )
        assert converted is not None
        graph = converted.model.graph
        values = (*graph.inputs, *graph.initializers.values(), *(each for node in graph for each in node.outputs))
        for part in (graph, *graph, *values):  # what the exporter notes there has paths of this machine
            part.metadata_props.clear()
        converted.save(path)


def onnx_session(path: Path, threads: int | None = None) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """Return a function from images to logits that runs an ONNX file with ONNX Runtime on the CPU.

    Args:
        path: the ONNX file.
        threads: CPU threads; None: as many as PyTorch uses.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (image,) = session.get_inputs()

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        (logits,) = session.run(None, {image.name: images})
        return logits  # type: ignore[no-any-return]

    return run


def exported_program(model: Model, channels: int, dtype: torch.dtype = torch.float32) -> ExportedProgram:
    """Return PyTorch's exported program of a network of a type of weights, with dynamic batch and spatial sizes."""
    plain = copy.deepcopy(model).to("cpu", dtype).eval()
    plain.kernels = "plain"
    sizes = {
        axis: divisor * Dim(f"size{axis}", max=_MOST // divisor) if divisor > 1 else Dim(f"size{axis}", max=_MOST)
        for axis, divisor in enumerate(plain.architecture.divisors, start=2)
    }
    example = torch.zeros(2, channels, *(4 * divisor for divisor in plain.architecture.divisors), dtype=dtype)
    with _quiet():
        return torch.export.export(plain, (example,), dynamic_shapes=({0: Dim("batch", max=_MOST), **sizes},))


def _loaded(path: Path) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    module = torch.export.load(path).module()

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            return module(torch.from_numpy(images)).numpy()  # type: ignore[no-any-return]

    return run


def _difference(model: Model, run: Callable[[NDArray[np.float32]], NDArray[np.float32]], images: Tensor) -> float:
    with torch.inference_mode():
        expected = model(images).numpy()
    found = run(images.numpy())
    return float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-30))


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporters, which warn about packages that are not needed here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
