"""Commands on a device: `run`, `latency`, `export` and `predict`; `--device cpu` rehearses them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from PIL import Image

Command = Callable[..., tuple[int, str, str]]
pytestmark = pytest.mark.gpu
RUN = (
    "run", "--strategy", "stamp_plus", "--dataset", "phantom2d:size=32,cases=14", "--folds", "0", "--protocol",
    "quick", "--set", "f=4", "--set", "depth=2", "--set", "filters_per_step=8", "--set", "recovery_epochs=1",
    "--quiet", "--runs", "runs",
)  # fmt: skip


@pytest.fixture
def run(stampbench: Command, device: torch.device) -> str:
    """Id of a run that was trained on the device, in the folder `runs` of the working folder."""
    code, _, err = stampbench(*RUN, "--device", device)
    assert code == 0, err
    (record,) = Path("runs").rglob("run.json")
    return record.parent.name


def test_run_is_latency_timed_exported_and_used_for_prediction(
    run: str, stampbench: Command, device: torch.device
) -> None:
    (path,) = Path("runs").rglob("run.json")
    record = json.loads(path.read_text())
    assert record["environment"]["device"] == str(device)
    assert (record["environment"]["gpu"] is not None) == (device.type == "cuda")
    assert 0 < record["summary"]["test_dice"] <= 1
    rows = pd.read_csv(path.parent / "latency.csv")
    assert set(rows["device"]) == {str(device)}
    predict_on_both_devices(run, stampbench, device)
    code, out, err = stampbench("export", run, "--format", "pt2", "--runs", "runs", "--output", "network.pt2")
    assert code == 0, err
    assert "of the largest logit" in out


def predict_on_both_devices(run: str, stampbench: Command, device: torch.device) -> None:
    """Check that labels of the device are those of the CPU but for voxels on the edge between two classes."""
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 48), dtype=np.uint8)).save("image.png")
    labels = []
    for name in ("cpu", str(device)):
        folder = f"labels_{name.replace(':', '')}"
        code, _, err = stampbench(
            "predict", run, "image.png", "--output", folder, "--device", name, "--runs", "runs", "--force"
        )
        assert code == 0, err
        labels.append(np.asarray(Image.open(f"{folder}/image.png")))
    assert labels[0].shape == (40, 48)
    assert (labels[0] == labels[1]).mean() > 0.995


def test_latency_of_a_trajectory_has_every_timing(run: str, stampbench: Command, device: torch.device) -> None:
    """On a GPU these are the three numbers in two backends and three precisions."""
    gpu = device.type == "cuda"
    words = ["--backend", "eager,cudagraph"] if gpu else ["--backend", "eager", "--timing", "wall,throughput"]
    code, out, err = stampbench(
        "latency", run, "--trajectory", "3", "--device", device, "--runs", "runs", "--seconds", "0.05",
        "--precision", "fp32,bf16,fp16" if gpu else "fp32", "--output", "timings.csv", "--rounds", "rounds.csv", *words,
    )  # fmt: skip
    assert code == 0, err
    timings, rounds = pd.read_csv("timings.csv"), pd.read_csv("rounds.csv")
    assert len(set(timings["step"])) == 3
    assert "saturated throughput" in out
    fastest = timings.groupby(["backend", "precision", "timing"])["p50_ms"].min()
    assert (fastest > 0).all()
    if not gpu:
        return
    assert set(timings["timing"]) == {"wall", "kernels", "throughput"}
    assert "kernels only (CUDA graph, cold L2 cache)" in out
    # A graph's kernels are a part of what an application waits for.
    assert fastest["cudagraph", "fp32", "kernels"] < fastest["eager", "fp32", "wall"]
    assert timings.loc[timings["timing"] == "wall", "allocated_bytes"].notna().all()
    measured = rounds["sm_mhz"] if "sm_mhz" in rounds else pd.Series([1000.0])  # the extra gpu may be missing
    assert (measured > 100).all()


def test_recorded_graph_computes_what_the_network_computes(device: torch.device) -> None:
    from stampbench.benchmark.measure.backends import Backend, open_session
    from stampbench.models.architecture import UNetArchitecture
    from stampbench.models.model import build

    torch.manual_seed(0)
    model = build(UNetArchitecture.doubling(3, 1, 3, f=4)).eval()
    images = torch.randn(2, 1, 32, 32, 32)
    backend: Backend = "cudagraph" if device.type == "cuda" else "eager"
    session = open_session(model, images.to(device), backend, "fp32")
    session.call()
    logits = session.call()
    assert isinstance(logits, torch.Tensor)
    with torch.inference_mode():
        torch.testing.assert_close(logits.cpu(), model(images), rtol=1e-3, atol=1e-3)
