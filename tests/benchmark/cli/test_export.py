"""The command `stampbench export`."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from stampbench.benchmark.config.spec import RunSpec
from stampbench.benchmark.inference import low_precision as module
from stampbench.benchmark.records.record_file import model_checksums
from stampbench.benchmark.records.reinference import Reinference
from stampbench.benchmark.records.run_store import RunStore
from stampbench.models.architecture import UNetArchitecture
from stampbench.models.model import build
from stampbench.models.weights.serialization import save_model

onnx = pytest.importorskip("onnx")
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


def test_int8_is_calibrated_on_training_images_and_compared_on_validation_cases(
    low_precision: None, recorded_runs: Any, stampbench: Callable[..., tuple[int, str, str]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    run = recorded_runs.table().query("name == 'standard'")["run"].iloc[0]
    words = ["export", run, "--runs", recorded_runs.runs, "--data-root", recorded_runs.data]
    read: list[Any] = []
    quantise = module.quantise

    def counted(path: Path, images: Any) -> None:
        read.extend(images)
        quantise(path, read)

    monkeypatch.setattr(module, "quantise", counted)
    code, out, err = stampbench(*words, "--precision", "int8", "--output", "int8.onnx")
    assert code == 0, err
    _, line = out.splitlines()
    reinference = Reinference(RunStore(recorded_runs.runs), recorded_runs.data)
    record = RunStore(recorded_runs.runs).find(run)[1]
    split, dataset = reinference.split(record), reinference.dataset(record)
    prepared = dataset.prepare({image.case for image in split.training})
    assert len(read) == len(split.training)
    for image, found in zip(split.training, read, strict=True):
        np.testing.assert_array_equal(found[0], prepared[image.case].images[image.slice])
    cases = len({image.case for image in split.validation})
    assert "of labels equal those of fp32, Dice 0." in line
    assert line.endswith(f", on {cases} validation cases; {Path('int8.onnx').stat().st_size:,} bytes")
    assert "QuantizeLinear" in {node.op_type for node in onnx.load("int8.onnx").graph.node}


def test_the_file_of_a_run_in_bf16_has_weights_in_fp32(
    recorded_runs: Any, stampbench: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript")
    monkeypatch.setattr(RunSpec, "test_precision", property(lambda spec: "bf16"))
    run = recorded_runs.table()["run"].iloc[0]
    words = ["export", run, "--runs", recorded_runs.runs, "--data-root", recorded_runs.data, "--output", "file.onnx"]
    code, out, err = stampbench(*words)
    assert code == 0, err
    line = "fp32 weights of a run in bf16; OpenVINO computes them in bf16 if its INFERENCE_PRECISION_HINT says so"
    assert out.splitlines()[-1] == line
    assert Path("file.onnx").stat().st_size > 0


def test_precisions_without_a_file_are_refused(
    low_precision: None, recorded_runs: Any, stampbench: Callable[..., tuple[int, str, str]], tmp_path: Path
) -> None:
    run = recorded_runs.table()["run"].iloc[0]
    for words, message in (
        (("--precision", "bf16"), "precision 'bf16': there is no such file, because ONNX Runtime has no bf16"),
        (("--precision", "int8", "--format", "pt2"), "format 'pt2': int8 networks are written as onnx only"),
        (("--precision", "int8", "--data-root", tmp_path), "Task04_Hippocampus"),
        (("--output", ""), "--output '.': a file of the format onnx ends in .onnx"),
        (("--format", "pt2", "--output", "x.onnx"), "--output 'x.onnx': a file of the format pt2 ends in .pt2"),
    ):
        code, _, err = stampbench("export", run, "--runs", recorded_runs.runs, *words)
        assert (code, len(err.strip().splitlines())) == (2, 1)
        assert message in err
