"""Precision of training."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

Command = Callable[..., tuple[int, str, str]]


RUN = (
    "run", "--strategy", "standard", "--dataset", "phantom2d:size=16,cases=14", "--folds", "0", "--protocol", "quick",
    "--set", "f=2", "--set", "depth=1", "--protocol-set", "max_epochs=2",
)  # fmt: skip


def test_fp16_needs_a_gpu(stampbench: Command) -> None:
    code, _, err = stampbench(*RUN, "--precision", "fp16")
    assert (code, err.strip()) == (
        2,
        "error: precision 'fp16' needs a GPU; fp32 and bf16 run on the CPU; see --precision",
    )


def test_precision_is_part_of_the_protocol(stampbench: Command) -> None:
    assert stampbench(*RUN, "--precision", "bf16")[0] == 0
    (path,) = Path("runs").rglob("run.json")
    record = json.loads(path.read_text())
    assert "precision=bf16" in record["protocol_label"]
