"""Runs that share a device; `--device cpu` rehearses them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

Command = Callable[..., tuple[int, str, str]]
pytestmark = pytest.mark.gpu
RUN = (
    "run", "--dataset", "phantom2d:size=32,cases=14", "--folds", "0", "--protocol", "quick", "--set", "depth=2",
    "--protocol-set", "max_epochs=2", "--quiet",
)  # fmt: skip


def test_two_runs_share_a_device(stampbench: Command, device: torch.device) -> None:
    code, _, err = stampbench(
        *RUN, "--strategy", "standard,flat", "--set", "f=4", "--jobs", "2", "--threads", "1", "--device", device
    )
    assert code == 0, err
    records = [json.loads(path.read_text()) for path in Path("runs").rglob("run.json")]
    assert [each["environment"]["device"] for each in records] == [str(device)] * 2
    assert {each["spec"]["strategy"] for each in records} == {"standard", "flat"}
