"""Weights that users have: found, read without running code, matched by name, and refused in one line."""

from __future__ import annotations

import os
import zipfile
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from monai.networks.nets import DynUNet
from safetensors.torch import save_file
from torch import Tensor, nn

from stampbench.models.architecture import Filter, UNetArchitecture
from stampbench.models.errors import ModelError
from stampbench.models.model import Model, build
from stampbench.models.networks import monai
from stampbench.models.pruning import remove_filters
from stampbench.models.tracing.traced_architecture import TracedArchitecture
from stampbench.models.weights import weights_file
from stampbench.models.weights.serialization import save_model
from stampbench.models.weights.trained_weights import load_trained
from stampbench.models.weights.weights_file import find_weights

IMAGE = torch.randn(1, 1, 16, 16, generator=torch.manual_seed(0))
START = TracedArchitecture.unpruned("dynunet", monai.DynUNet(f=2, depth=2), 2, 1, 3)
UNET = UNetArchitecture.doubling(2, 1, 3, f=2, depth=1)


@pytest.fixture
def own() -> nn.Module:
    """A network as a user's own script builds and trains it: MONAI's DynUNet, which has two names for each tensor."""
    torch.manual_seed(1)
    return DynUNet(2, 1, 3, [3] * 3, [1, 2, 2], [2, 2], filters=[2, 4, 8]).eval()


def logits(model: nn.Module) -> Tensor:
    """Return the logits of one image."""
    with torch.no_grad():
        result: Tensor = model(IMAGE)
    return result


def prefixed(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return a state dict as a wrapper's."""
    return {f"{prefix}{name}": value for name, value in state.items()}


WRAPPERS: list[Callable[[dict[str, Tensor]], Any]] = [
    lambda state: state,
    lambda state: {"state_dict": state, "epoch": 3},
    lambda state: {"model": state, "optimiser": {"lr": 0.1}},
    lambda state: {"network_weights": state},
    lambda state: {"model": {"state_dict": prefixed(state, "module.")}},
    lambda state: {"state_dict": prefixed(state, "net.")},
    lambda state: prefixed(state, "module._orig_mod."),
    lambda state: OrderedDict(prefixed(state, "model.")),
    lambda state: {name: value.half() for name, value in state.items()},
    lambda state: {name: nn.Parameter(value) for name, value in state.items()},
]


@pytest.mark.parametrize("number", range(len(WRAPPERS)))
def test_weights_are_found_below_keys_and_prefixes(own: nn.Module, tmp_path: Path, number: int) -> None:
    torch.save(WRAPPERS[number](dict(own.state_dict())), tmp_path / "model.pt")
    found = load_trained(tmp_path / "model.pt", START)
    assert not found.training
    torch.testing.assert_close(logits(found), logits(own), atol=1e-2 if number == 8 else 1e-6, rtol=0)


def test_network_whose_own_names_begin_with_model_is_not_renamed(tmp_path: Path) -> None:
    """All tensors of MONAI's UNet are called model.…"""
    start = TracedArchitecture.unpruned("residual_unet", monai.ResidualUNet(f=2, depth=2), 2, 1, 3)
    torch.manual_seed(1)
    own = start.network.build(2, 1, 3).eval()
    assert all(name.startswith("model.") for name in own.state_dict())
    for name, prefix in (("plain.pt", ""), ("lightning.ckpt", "model."), ("parallel.pt", "module.")):
        torch.save(prefixed(own.state_dict(), prefix), tmp_path / name)
        assert torch.equal(logits(load_trained(tmp_path / name, start)), logits(own))


def test_safetensors_and_the_older_form_of_torch_are_read(own: nn.Module, tmp_path: Path) -> None:
    unique = {name: value for name, value in own.state_dict().items() if not name.startswith("skip_layers")}
    save_file(unique, tmp_path / "model.safetensors")
    torch.save(own.state_dict(), tmp_path / "old.pt", _use_new_zipfile_serialization=False)
    for name in ("model.safetensors", "old.pt"):
        assert torch.equal(logits(load_trained(tmp_path / name, START)), logits(own))


@pytest.mark.parametrize("start", [START, UNET], ids=["dynunet", "unet"])
def test_folder_of_a_run_gives_its_pruned_network(start: Any, tmp_path: Path) -> None:
    torch.manual_seed(1)
    model: Model = build(start)
    remove_filters(model, [Filter(next(iter(start.layers)), 0)])
    save_model(model.eval(), tmp_path / "run" / "model")
    for folder in (tmp_path / "run", tmp_path / "run" / "model"):
        found = load_trained(find_weights(folder), start)
        assert found.architecture == model.architecture != start
        assert torch.equal(logits(found), logits(model))
    other: Any = (
        UNetArchitecture.doubling(2, 1, 3, f=1, depth=1)
        if isinstance(start, UNetArchitecture)
        else TracedArchitecture.unpruned("dynunet", monai.DynUNet(f=4, depth=2), 2, 1, 3)
    )
    with pytest.raises(ModelError, match=r"not those of .* as architecture\.json beside them says"):
        load_trained(find_weights(tmp_path / "run"), other)


def without_first(state: dict[str, Any]) -> dict[str, Any]:
    """Leave out the first tensor under both of its names."""
    return {name: value for name, value in state.items() if not name.endswith(FIRST)}


def with_first(value: Callable[[Tensor], Any]) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """Return a function that replaces the first tensor under both of its names."""
    return lambda state: {name: value(old) if name.endswith(FIRST) else old for name, old in state.items()}


FIRST = "input_block.conv1.conv.weight"
MISFITS: list[tuple[Callable[[dict[str, Any]], Any], str]] = [
    (
        without_first,
        f"of network 'dynunet' with 1 channels and 3 classes in 2D: has no tensor '{FIRST}'$",
    ),
    (lambda state: state | {"extra.weight": torch.zeros(1)}, r"tensor 'extra\.weight' does not exist"),
    (lambda _: {"a": torch.zeros(1)}, r"has no tensor '[\w.]+' \(and \d+ more such problems\)$"),
    (with_first(lambda _: torch.zeros(2, 2, 3, 3)), r"has shape \(2, 2, 3, 3\), the network's has \(2, 1, 3, 3\)"),
    (with_first(lambda old: old.new_zeros(1).expand(10**6, 10**6)), r"has shape \(1000000, 1000000\)"),
    (with_first(lambda old: old.long()), "is of type torch.int64, the network's is of type torch.float32"),
    (with_first(lambda old: old.to(torch.complex64)), "is of type torch.complex64"),
    (with_first(lambda old: old * float("nan")), "contains NaN or infinite values"),
    (with_first(lambda old: torch.full_like(old, float("inf"))), "contains NaN or infinite values"),
    (with_first(lambda _: 3), "is of type int, not a tensor"),
    (lambda state: {"state_dict": state, "model": 3} | {"state_dict": [1]}, "is of type list, not a tensor"),
    (lambda state: list(state.values()), "holds a list, not tensors by name"),
    (lambda _: {}, "has no tensor"),
]


@pytest.mark.parametrize("number", range(len(MISFITS)))
def test_weights_that_do_not_fit_are_refused_in_one_line(own: nn.Module, tmp_path: Path, number: int) -> None:
    change, problem = MISFITS[number]
    torch.save(change(dict(own.state_dict())), tmp_path / "model.pt")
    with pytest.raises(ModelError, match=rf"^weights .*model\.pt: .*{problem}") as raised:
        load_trained(tmp_path / "model.pt", START)
    assert "\n" not in str(raised.value)


class _Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_no_code_of_a_file_runs(own: nn.Module, tmp_path: Path) -> None:
    torch.save(own, tmp_path / "module.pt")
    torch.save({"state_dict": own.state_dict(), "note": _Trap(tmp_path / "trap")}, tmp_path / "trap.pt")
    torch.jit.save(torch.jit.trace(own, IMAGE), tmp_path / "script.pt")
    for name, problem in (
        ("module.pt", r"holds the Python object monai\.networks\.nets\.dynunet\.DynUNet, .*save model\.state_dict\(\)"),
        ("trap.pt", r"holds the Python object \w+\.mkdir, which is not loaded, because it could run any code"),
        ("script.pt", "is a TorchScript program"),
    ):
        with pytest.raises(ModelError, match=rf"^weights .*{name}: {problem}"):
            load_trained(tmp_path / name, START)
    assert not (tmp_path / "trap").exists()


def test_damaged_large_and_absent_files_are_refused(
    own: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.save(own.state_dict(), tmp_path / "model.pt")
    content = (tmp_path / "model.pt").read_bytes()
    for name, damaged in (("half.pt", content[: len(content) // 2]), ("empty.pt", b""), ("x.safetensors", b"abc")):
        (tmp_path / name).write_bytes(damaged)
        with pytest.raises(ModelError, match=rf"^weights .*{name}: cannot be read") as raised:
            load_trained(tmp_path / name, START)
        assert "\n" not in str(raised.value)
    with pytest.raises(ModelError, match="no such file or folder"):
        find_weights(tmp_path / "absent.pt")
    with pytest.raises(ModelError, match=r"holds neither weights\.safetensors nor checkpoint_final\.pth"):
        find_weights(tmp_path)
    os.mkfifo(tmp_path / "pipe.pt")
    with pytest.raises(ModelError, match="no such file or folder"):
        find_weights(tmp_path / "pipe.pt")
    monkeypatch.setattr(weights_file, "_MOST_BYTES", 2**16)
    with zipfile.ZipFile(tmp_path / "bomb.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb/data/0", bytes(2**20))
    assert (tmp_path / "bomb.pt").stat().st_size < 2**16
    with pytest.raises(ModelError, match=r"1,048,\d+ bytes when unpacked; at most 65,536 are read"):
        load_trained(tmp_path / "bomb.pt", START)
    (tmp_path / "large.pt").write_bytes(bytes(2**16 + 1))
    with pytest.raises(ModelError, match="65,537 bytes; at most 65,536 are read"):
        load_trained(tmp_path / "large.pt", START)
