"""A network in a form that runs without this package: ONNX, or PyTorch's exported program."""

from __future__ import annotations

import copy
import importlib.util
import logging
import tempfile
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
from stampbench.models.network import Network

Format = Literal["onnx", "pt2"]
_MOST = 4096
"""Images in a batch, and voxels per axis, that an exported network takes at most."""
_TOLERANCE = 1e-4
"""The largest difference from the original's logits, relative to their largest, that an export may have."""


def export(model: Network, images: Tensor, path: Path, form: Format) -> float:
    """Write `model` to `path`, with any batch size and any spatial size that is a multiple of its divisors.

    The file is kept only if it computes what the model does.

    Args:
        images: `(N, channels, *spatial)`, real ones if possible, to compare on.

    Returns:
        The largest difference of logits, relative to the largest of them.

    Raises:
        UserError: a package is missing, the file cannot be written, or its results differ.
    """
    if form == "onnx":
        require("onnx", "onnxscript", "onnxruntime")
    program = exportable(model, images)
    unfinished = _beside(path)
    try:
        if form == "onnx":
            write_onnx(program, unfinished)
            run = onnx_session(unfinished)
        else:
            torch.export.save(program, unfinished)
            run = _loaded(unfinished)
        error = max(_difference(model, run, each) for each in (images, images[:1].repeat(3, *[1] * (images.ndim - 1))))
        if not error <= _TOLERANCE:
            raise UserError(f"{path}: the exported network differs from the original by {error:.1e}; it was not kept")
        unfinished.replace(path)
    except OSError as reason:
        raise UserError(f"cannot write {path}: {reason.strerror or reason}") from reason
    finally:
        unfinished.unlink(missing_ok=True)
        unfinished.parent.rmdir()
    return error


def require(*packages: str) -> None:
    """Raises UserError, naming the extra, if a package is missing."""
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise UserError(f"package '{package}' is not installed; pip install 'stampbench[export]' brings it")


def write_onnx(program: ExportedProgram, path: Path) -> None:
    """Write one self-contained ONNX file; its input is `image`, its output `logits`."""
    with _quiet():
        converted = torch.onnx.export(
            program, dynamo=True, input_names=["image"], output_names=["logits"], verbose=False
        )
        assert converted is not None
        converted.save(path)


def onnx_session(path: Path, threads: int | None = None) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    """A function of ONNX Runtime on the CPU."""
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


def exportable(model: Network, images: Tensor) -> ExportedProgram:
    plain = copy.deepcopy(model).cpu().eval()
    plain.kernels = "plain"
    sizes = {
        axis: divisor * Dim(f"size{axis}", max=_MOST // divisor) if divisor > 1 else Dim(f"size{axis}", max=_MOST)
        for axis, divisor in enumerate(plain.architecture.divisors, start=2)
    }
    example = torch.zeros(2, images.shape[1], *(4 * divisor for divisor in plain.architecture.divisors))
    with _quiet():
        return torch.export.export(plain, (example,), dynamic_shapes=({0: Dim("batch", max=_MOST), **sizes},))


def _loaded(path: Path) -> Callable[[NDArray[np.float32]], NDArray[np.float32]]:
    module = torch.export.load(path).module()

    def run(images: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            return module(torch.from_numpy(images)).numpy()  # type: ignore[no-any-return]

    return run


def _difference(model: Network, run: Callable[[NDArray[np.float32]], NDArray[np.float32]], images: Tensor) -> float:
    with torch.inference_mode():
        expected = model(images).numpy()
    found = run(images.numpy())
    return float(np.abs(found - expected).max() / max(float(np.abs(expected).max()), 1e-30))


def _beside(path: Path) -> Path:
    """The same name in a new folder beside it, to be moved once it is whole."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=".export-", dir=path.parent)) / path.name
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror or error}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """The exporters warn of packages that are not needed here."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
