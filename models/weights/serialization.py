"""Save and load networks as `architecture.json` and `weights.safetensors`, without pickle."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import Tensor

from stampbench.models.errors import ModelError
from stampbench.models.model import Architecture, Model, build, parameter_count, parse_architecture, without_memory

ARCHITECTURE = "architecture.json"
"""File name of the architecture in a model folder."""

WEIGHTS = "weights.safetensors"
"""File name of the weights in a model folder."""

_MOST_BYTES = 2**20
"""Size of the largest architecture file that is read."""


Write = Callable[[Path, Iterable[bytes]], object]
"""Writes the content of a file."""


def _write(path: Path, content: Iterable[bytes]) -> None:
    path.write_bytes(b"".join(content))


def save_model(model: Model, folder: Path, write: Write = _write) -> None:
    """Write the architecture and the weights of a model.

    Args:
        model: the model.
        folder: where to write; it is created if it does not exist.
        write: writes one file.
    """
    folder.mkdir(parents=True, exist_ok=True)
    write(folder / ARCHITECTURE, [model.architecture.model_dump_json(indent=1).encode(), b"\n"])
    write(folder / WEIGHTS, [save({name: value.contiguous() for name, value in model.state_dict().items()})])


def load_model(folder: Path) -> Model:
    """Load the network saved in `folder`, on the CPU and in evaluation mode.

    Nothing is built before the shapes of the stored weights are known to fit the architecture.

    Raises:
        ModelError: when a file is missing or malformed, the weights do not fit the architecture, or a weight is NaN or
            infinite.
    """
    for name in (ARCHITECTURE, WEIGHTS):
        if not (folder / name).is_file():
            raise ModelError(f"model folder {folder}: {name} is missing")
    architecture = _read_architecture(folder / ARCHITECTURE)
    weights = _read_weights(folder / WEIGHTS, architecture)
    model = build(architecture)
    model.load_state_dict(weights)
    return model.eval()


def _read_architecture(path: Path) -> Architecture:
    try:
        size = path.stat().st_size
        text = path.read_text() if size <= _MOST_BYTES else ""
    except (OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{path}: cannot be read ({error})") from error
    if size > _MOST_BYTES:
        raise ModelError(f"{path}: has {size:,} bytes; an architecture has at most {_MOST_BYTES:,}")
    try:
        architecture = parse_architecture(text)
        parameter_count(architecture)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or ARCHITECTURE
        raise ModelError(f"{path}: {where}: {first['msg']}") from error
    except ModelError as error:
        raise ModelError(f"{path}: {error}") from error
    return architecture


def _read_weights(path: Path, architecture: Architecture) -> dict[str, Tensor]:
    """Return weights whose names, shapes and types are those of the architecture, and that are finite."""
    expected = without_memory(architecture).state_dict()
    try:
        with safe_open(path, "pt") as file:
            shapes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        _check_fit(path, "shape", {name: tuple(value.shape) for name, value in expected.items()}, shapes)
        weights: dict[str, Tensor] = load_file(path)
    except (SafetensorError, OSError) as error:
        raise ModelError(f"{path}: cannot be read ({error})") from error
    types = ({name: value.dtype for name, value in each.items()} for each in (expected, weights))
    _check_fit(path, "type", *types)
    for name, value in weights.items():
        if not value.isfinite().all():
            raise ModelError(f"{path}: tensor '{name}' contains NaN or infinite values")
    return weights


def _check_fit(path: Path, what: str, expected: Mapping[str, object], found: Mapping[str, object]) -> None:
    """Check that a property of all tensors is the expected one.

    Args:
        path: file of the weights, for the message.
        what: name of the property.
        expected: the property of each tensor of the architecture.
        found: the property of each stored tensor.
    """
    if expected == found:
        return
    name = next(name for name in [*expected, *found] if expected.get(name) != found.get(name))
    raise ModelError(
        f"{path}: does not fit {ARCHITECTURE}: tensor '{name}' has {what} {found.get(name, 'none (missing)')}, "
        f"expected {expected.get(name, 'no such tensor')}"
    )
