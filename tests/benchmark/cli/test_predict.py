"""The command `stampbench predict`."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from safetensors.numpy import load_file, save_file


def test_recorded_run_segments_pictures_and_folders(
    stampbench: Callable[..., tuple[int, str, str]],
) -> None:
    assert stampbench(
        "run", "--strategy", "standard", "--dataset", "phantom2d:size=16,cases=14", "--folds", "0", "--protocol",
        "quick", "--set", "f=2", "--set", "depth=1", "--protocol-set", "max_epochs=1",
    )[0] == 0  # fmt: skip
    (record,) = Path("runs").rglob("run.json")
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (20, 31), dtype=np.uint8)).save("a.png")
    code, out, err = stampbench("predict", record.parent.name, "a.png", "--output", "labels", "--time")
    assert (code, out.strip()) == (0, "labels/a.png")
    parts = [line.split()[0] for line in err.splitlines()[-7:] if not line.startswith("-")]
    assert parts == ["starting", "reading", "preparation", "network", "restoring", "writing", "all"]
    assert Image.open("labels/a.png").size == (31, 20)
    code, _, err = stampbench("predict", record.parent.name, "missing.png", "--output", "labels")
    assert (code, err.strip()) == (2, "error: missing.png: no such file")
    # Every image of a folder; the second one has another scale than the training images.
    Path("images").mkdir()
    for name, edge in (("near.png", 16), ("far.png", 64)):
        Image.fromarray(np.random.default_rng(0).integers(0, 255, (edge, edge), dtype=np.uint8)).save(f"images/{name}")
    Path("images/notes.txt").touch()
    code, out, err = stampbench("predict", record.parent.name, "images", "--output", "labels")
    assert (code, out.split()) == (0, ["labels/far.png", "labels/near.png"])
    assert err.startswith("warning: images/far.png: has a size of 64×64 px, but the training images had 16×16 px")
    assert len(err.splitlines()) == 1
    # Importing any of these takes longer than predicting some scans.
    words = ["predict", record.parent.name, "images/near.png", "--output", "again"]
    code = (
        "import sys; from stampbench.benchmark.cli.main import cli; "
        f"cli({words!r}, standalone_mode=False); "
        "print({'monai', 'pandas', 'scipy.ndimage', 'torch._dynamo'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["again/near.png", "set()"]
    assert np.array_equal(Image.open("again/near.png"), Image.open("labels/near.png"))
    # Fast prediction folds the weights of a copy; PyTorch's modules compute the same.
    words = ["images/near.png", "--output", "plain", "--kernels", "plain"]
    assert stampbench("predict", record.parent.name, *words)[0] == 0
    assert np.array_equal(Image.open("plain/near.png"), Image.open("labels/near.png"))
    Path("empty").mkdir()
    code, _, err = stampbench("predict", record.parent.name, "empty", "--output", "labels")
    assert (code, err.split(";")[0]) == (2, "error: empty: contains no images")
    weights = record.parent / "model" / "weights.safetensors"
    tensors = load_file(weights)
    tensors["head.weight"][0] = np.nan
    save_file(tensors, weights)
    resign(record)
    for words in (
        ("predict", "a.png", "--output", "labels", "--force"),
        ("export", "--format", "pt2"),
        ("latency", "--seconds", "0.1"),
    ):
        code, _, err = stampbench(words[0], record.parent.name, *words[1:])
        assert (code, err) == (2, f"error: {weights}: tensor 'head.weight' contains NaN or infinite values\n")
    code, out, _ = stampbench("store", "check")
    assert code == 1
    assert "tensor 'head.weight' contains NaN" in out


def resign(record: Path) -> None:
    """Write the checksums of a run's files, as they are now, into its record."""
    content = json.loads(record.read_text())
    for name in content["files"]:
        content["files"][name] = hashlib.sha256((record.parent / name).read_bytes()).hexdigest()
    record.write_text(json.dumps(content))
