"""The command `stampbench export`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from stampbench.benchmark.records.record_file import model_checksums
from stampbench.models.architecture import UNetArchitecture
from stampbench.models.model import build
from stampbench.models.serialization import save_model

pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")


def test_recorded_run_is_exported_and_damaged_networks_are_refused(
    stampbench: Callable[..., tuple[int, str, str]],
) -> None:
    code, _, _ = stampbench(
        "run", "--strategy", "standard", "--dataset", "phantom2d:size=16,cases=14", "--folds", "0", "--protocol",
        "quick", "--set", "f=2", "--set", "depth=1", "--protocol-set", "max_epochs=1",
    )  # fmt: skip
    assert code == 0
    (record,) = Path("runs").rglob("run.json")
    run = record.parent.name
    code, out, _ = stampbench("export", run[:6], "--output", "model.onnx")
    assert code == 0
    assert "of size 2·n × 2·n in" in out
    assert Path("model.onnx").is_file()
    for damage, message in (
        (lambda weights: weights[:-50], "checksum mismatch"),
        (lambda weights: b"\x80\x04\x95" + weights[:100], "checksum mismatch"),
    ):
        weights = record.parent / "model" / "weights.safetensors"
        intact = weights.read_bytes()
        weights.write_bytes(damage(intact))
        code, _, err = stampbench("export", run, "--output", "other.onnx")
        weights.write_bytes(intact)
        assert (code, len(err.strip().splitlines())) == (2, 1)
        assert message in err
        assert not Path("other.onnx").exists()
    architecture = record.parent / "model" / "architecture.json"
    intact_text = architecture.read_text()
    other = build(UNetArchitecture.doubling(2, 1, 7, f=2, depth=1))
    for change, message in (
        (lambda: architecture.write_text(intact_text.replace('"depth": 1', '"depth": 2')), "upconvs"),
        (lambda: save_model(other, record.parent / "model"), "the network has 7 classes, the record 4"),
    ):
        change()
        content = json.loads(record.read_text())
        # The checksums match, so that only the network itself contradicts the record.
        content["files"] |= model_checksums(record.parent)
        record.write_text(json.dumps(content))
        code, _, err = stampbench("predict", run, "absent.png", "--output", "labels")
        assert (code, len(err.strip().splitlines())) == (2, 1)
        assert message in err
        architecture.write_text(intact_text)
