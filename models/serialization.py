"""Save and load networks as `architecture.json` and `weights.safetensors`, without pickle."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from stampbench.models.errors import ModelError
from stampbench.models.network import Network, build, parse_architecture

ARCHITECTURE = "architecture.json"
"""File name of the architecture in a model folder."""

WEIGHTS = "weights.safetensors"
"""File name of the weights in a model folder."""


def save_model(model: Network, folder: Path) -> None:
    """Write the architecture and the weights of `model` into `folder`, which is created if it does not exist."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / ARCHITECTURE).write_text(model.architecture.model_dump_json(indent=1) + "\n")
    save_file({name: value.contiguous() for name, value in model.state_dict().items()}, folder / WEIGHTS)


def load_model(folder: Path) -> Network:
    """Load the network saved in `folder`, on the CPU and in evaluation mode.

    Raises:
        ModelError: when a file is missing or malformed, or the weights do not fit the architecture.
    """
    for name in (ARCHITECTURE, WEIGHTS):
        if not (folder / name).is_file():
            raise ModelError(f"model folder {folder}: {name} is missing")
    try:
        architecture = parse_architecture((folder / ARCHITECTURE).read_text())
        weights = load_file(folder / WEIGHTS)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or ARCHITECTURE
        raise ModelError(f"{folder / ARCHITECTURE}: {where}: {first['msg']}") from error
    except (SafetensorError, OSError, UnicodeDecodeError) as error:
        raise ModelError(f"{folder / WEIGHTS}: cannot be read ({error})") from error
    model = build(architecture)
    expected = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    found = {name: tuple(value.shape) for name, value in weights.items()}
    if expected != found:
        name = next(name for name in [*expected, *found] if expected.get(name) != found.get(name))
        raise ModelError(
            f"{folder / WEIGHTS}: does not fit {ARCHITECTURE}: tensor '{name}' has shape "
            f"{found.get(name, 'none (missing)')}, expected {expected.get(name, 'no such tensor')}"
        )
    model.load_state_dict(weights)
    return model.eval()
