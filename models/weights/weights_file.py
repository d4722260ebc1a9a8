"""Files of trained weights that users have: which file holds them, and its tensors, read without running its code."""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from stampbench.models.errors import ModelError
from stampbench.models.weights.serialization import WEIGHTS

_MOST_BYTES = 2**33
"""Larger files are not read: weights of the largest network take 2 GB, an optimiser's moments up to twice as much."""
_NESTED = ("state_dict", "model_state_dict", "network_weights", "model", "network", "net")
"""Keys under which checkpoints keep their weights."""
_CHECKPOINT = "checkpoint_final.pth"


def find_weights(path: Path) -> Path:
    """Return the file that holds the weights.

    Args:
        path: The file itself, the folder of a run or of its network, or a result folder of nnU-Net v2 or of one of its
            folds.

    Raises:
        ModelError: when there is no such file, or nnU-Net's folder has several folds.
    """
    if path.is_file():
        return path
    if not path.is_dir():
        raise ModelError(f"weights {path}: no such file or folder")
    for name in (WEIGHTS, f"model/{WEIGHTS}", _CHECKPOINT):
        if (path / name).is_file():
            return path / name
    folds = sorted(path.glob(f"fold_*/{_CHECKPOINT}"))
    if len(folds) > 1:
        names = ", ".join(each.parent.name for each in folds)
        raise ModelError(f"weights {path}: has several folds ({names}); name the folder of one of them")
    if not folds:
        raise ModelError(f"weights {path}: holds neither {WEIGHTS} nor {_CHECKPOINT}, in it or in a folder fold_…")
    return folds[0]


def read_content(file: Path) -> Mapping[str, Any]:
    """Return the content of a file of safetensors or of `torch.save`: tensors by name, or a checkpoint with them.

    Files of `torch.save` are loaded with `weights_only`: no code of theirs runs.

    Raises:
        ModelError: when the file is too large, damaged, or holds Python objects.
    """
    try:
        status = file.stat()
        return _read(file, status.st_size, status.st_mtime_ns)
    except OSError as error:
        raise ModelError(f"weights {file}: cannot be read ({error.strerror or error})") from error


def state_of(content: Mapping[str, Any], file: Path) -> dict[str, Tensor]:
    """Return the tensors of a checkpoint by name, also where they are below a key such as `state_dict`.

    Raises:
        ModelError: when something else is there too.
    """
    state: Mapping[str, Any] = content
    for _ in _NESTED:
        inner = next((state[key] for key in _NESTED if isinstance(state.get(key), Mapping)), None)
        if inner is None:
            break
        state = inner
    for name, value in state.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise ModelError(
                f"weights {file}: entry '{str(name)[:100]}' is of type {type(value).__name__}, not a tensor; weights "
                f"are read from the top or from the keys {', '.join(_NESTED)}"
            )
    return dict(state)


@lru_cache(maxsize=1)
def _read(file: Path, size: int, _changed: int) -> Mapping[str, Any]:
    if size > _MOST_BYTES:
        raise ModelError(f"weights {file}: {size:,} bytes; at most {_MOST_BYTES:,} are read")
    try:
        if file.suffix == ".safetensors":
            return load_file(file)  # type: ignore[no-any-return]
        _check_archive(file)
        with torch.serialization.safe_globals(_numbers()):
            content = torch.load(file, map_location="cpu", weights_only=True)
    except (OSError, ModelError):
        raise
    except Exception as error:  # a damaged file may fail in any way
        raise ModelError(f"weights {file}: {_reason(error)}") from error
    if not isinstance(content, Mapping):
        raise ModelError(f"weights {file}: holds a {type(content).__name__}, not tensors by name")
    return content


def _check_archive(file: Path) -> None:
    """Check that an archive does not become too large when it is unpacked, and is no program."""
    if not zipfile.is_zipfile(file):
        return
    with zipfile.ZipFile(file) as archive:
        unpacked = sum(each.file_size for each in archive.infolist())
        script = any(name.endswith("/constants.pkl") for name in archive.namelist())
    if unpacked > _MOST_BYTES:
        raise ModelError(f"weights {file}: {unpacked:,} bytes when unpacked; at most {_MOST_BYTES:,} are read")
    if script:
        raise ModelError(f"weights {file}: is a TorchScript program; save model.state_dict() instead")


def _numbers() -> list[Any]:
    """Return what NumPy's single numbers are pickled with: checkpoints of nnU-Net hold some beside the weights.

    Files that were written with NumPy 1 have another name for the function that makes a number of bytes.
    """
    make = np.float64(0).__reduce__()[0]
    kinds = [type(np.dtype(kind)) for kind in (np.float64, np.float32, np.int64, np.bool_)]
    return [(make, f"numpy.{core}.multiarray.scalar") for core in ("_core", "core")] + [np.dtype, *kinds]


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    if refused := re.search(r"GLOBAL ([\w.]+)", text):
        return (
            f"holds the Python object {refused[1]}, which is not loaded, because it could run any code; save "
            "model.state_dict() instead"
        )
    return f"cannot be read ({text[:200]})"
