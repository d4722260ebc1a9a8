"""Mutated images, datasets, suites, networks, archives and documents: success, or one line and exit code 2.

FUZZ_EXAMPLES is the number of examples of each test; `make fuzz` takes minutes, the normal test run seconds.
"""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from stampbench.datasets.definition import Archive
from stampbench.datasets.download import fetch
from stampbench.datasets.formats.image_io import read, shape

fuzz = settings.get_profile("fuzz")
DATA = st.data()
Data = st.DataObject
Refusal = Callable[..., str]


@fuzz
@given(data=DATA)
def test_dataset_json(data: Data, sandbox: Any, edit: Any, materials: Path) -> None:
    sandbox.begin(materials / "data")
    path = sandbox.input / "dataset.json"
    path.write_bytes(edit.json(data, json.loads(path.read_text())))
    words = data.draw(
        st.sampled_from(
            [
                ("datasets", "check", sandbox.input, "--overview", "o.png", "--table", "t.csv"),
                ("datasets", "show", sandbox.input),
                ("run", "--dataset", sandbox.input, "--strategy", "flat", "--dry-run", "--protocol-set", "folds=2"),
            ]
        )
    )
    sandbox.attempt(*words)


DEFINITION: dict[str, Any] = {
    "name": "d", "folder": "data", "summary": "s", "classes": {"a": [1], "b": [2]}, "spatial_dims": 2, "size": [16, 16],
    "fit": "pad", "clip_range": [-1.0, 100.0], "patch": [8, 8], "test_subjects": 2, "background": [3], "version": "1",
    "surface_tolerance": 2.0, "patterns": {
        "images": ["imagesTr/{case}.nii.gz"], "labels": ["labelsTr/{case}.nii.gz"], "channels": ["CT"],
        "spacing": [1, 1, 2], "ignore": ["*.txt"], "priority": ["a", "b"],
    },
}  # fmt: skip


@fuzz
@given(data=DATA)
def test_definition_file(data: Data, sandbox: Any, edit: Any, materials: Path) -> None:
    sandbox.begin(materials)
    path = sandbox.input / "d.yaml"
    path.write_bytes(edit.json(data, DEFINITION))
    words = data.draw(
        st.sampled_from(
            [
                ("datasets", "check", path, "--overview", "o.png", "--table", "t.csv"),
                ("datasets", "prepare", path),
                ("run", "--dataset", path, "--strategy", "flat", "--dry-run", "--protocol-set", "folds=2"),
            ]
        )
    )
    sandbox.attempt(*words)


def nifti(kind: type, channels: int) -> bytes:
    """Return the bytes of an image."""
    pixels = np.random.default_rng(0).normal(size=(8, 8, 4, channels)[: 4 if channels > 1 else 3])
    image = nib.Nifti1Image(pixels.astype(kind), np.diag([1.5, 1.5, 3, 1]))
    image.header.set_slope_inter(1, 0)
    return image.to_bytes()  # type: ignore[no-any-return]


@fuzz
@given(data=DATA)
def test_nifti(data: Data, sandbox: Any, edit: Any, materials: Path) -> None:
    sandbox.begin()
    (run,) = (materials / "runs" / "data").rglob("run.json")
    kind, channels = data.draw(st.sampled_from([(np.float32, 1), (np.int16, 1), (np.uint8, 2), (np.float64, 1)]))
    content = edit.bytes(data, nifti(kind, channels), data.draw(st.sampled_from([352, 352, 352, None])))
    name = data.draw(st.sampled_from(["a.nii", "a.nii.gz"]))
    packed = gzip.compress(content, 1) if name.endswith("gz") else content
    (sandbox.input / name).write_bytes(packed if data.draw(st.integers(0, 9)) else edit.bytes(data, packed))
    code, _ = sandbox.attempt("predict", run.parent, sandbox.input / name, "--output", sandbox.out, "--device", "cpu")
    if code == 0:
        assert shape(sandbox.out / name) == shape(sandbox.input / name)


def pictures() -> dict[str, bytes]:
    """Return small pictures in all formats, by file name."""
    pixels = np.arange(20 * 16, dtype=np.uint8).reshape(20, 16)
    files = {}
    for name, mode in (
        ("a.png", "L"), ("b.png", "P"), ("c.png", "RGB"), ("a.jpg", "L"), ("a.gif", "P"), ("a.bmp", "L"),
    ):  # fmt: skip
        buffer = io.BytesIO()
        Image.fromarray(pixels).convert(mode).save(buffer, Image.registered_extensions()[name[1:]])
        files[name] = buffer.getvalue()
    for name, array, more in (
        ("a.tif", pixels, {}), ("b.tif", pixels, {"compression": "zlib"}), ("c.tif", np.stack([pixels] * 3), {}),
        ("d.tif", pixels.astype(np.float32), {"tile": (16, 16)}),
    ):  # fmt: skip
        buffer = io.BytesIO()
        tifffile.imwrite(buffer, array, photometric="minisblack", **more)
        files[name] = buffer.getvalue()
    buffer = io.BytesIO()
    np.save(buffer, pixels)
    meta = "ObjectType = Image\nNDims = 2\nDimSize = 16 20\nElementType = MET_UCHAR\nElementDataFile = LOCAL\n"
    nrrd = "NRRD0004\ntype: uint8\ndimension: 2\nsizes: 16 20\nencoding: raw\n\n"
    files |= {"a.npy": buffer.getvalue(), "a.mha": meta.encode() + pixels.tobytes()}
    return files | {"a.nrrd": nrrd.encode() + pixels.tobytes()}


@fuzz
@given(data=DATA)
def test_pictures(data: Data, sandbox: Any, edit: Any, materials: Path, refusal: Refusal) -> None:
    sandbox.begin()
    (run,) = (materials / "runs" / "phantom2d").rglob("run.json")
    name, content = data.draw(st.sampled_from(sorted(pictures().items())))
    path = sandbox.input / name
    path.write_bytes(edit.bytes(data, content, data.draw(st.sampled_from([None, 200]))))
    if name == "c.tif" and data.draw(st.booleans()):
        path.with_suffix(".json").write_bytes(edit.json(data, {"spacing": [2.0, 1.0, 1.0]}))
    sandbox.attempt("predict", run.parent, path, "--output", sandbox.out, "--device", "cpu")
    for function in (read, shape):
        assert "\n" not in refusal(lambda function=function: function(path))


SUITE: dict[str, Any] = {
    "name": "s", "summary": "t", "source": "paper", "paper": ["x"], "n_train": [6, "all"], "training_sets": [0],
    "strategies": [{"name": "standard", "set": {"f": 2, "depth": 1}, "grid": {"f": [1, 2]}}, "flat"],
    "datasets": ["phantom2d:size=16,cases=14", {"name": "phantom2d", "patch_size": "16x16"}], "folds": [0, 1],
    "seeds": [0, 3], "protocol": "quick", "protocol_set": {"folds": 2, "max_epochs": 2}, "runs": [{"seeds": [1]}],
    "quick": {"folds": [0]},
}  # fmt: skip


@fuzz
@given(data=DATA)
def test_suite(data: Data, sandbox: Any, edit: Any) -> None:
    sandbox.begin()
    content = edit.json(data, SUITE)  # JSON is YAML, apart from NaN
    if data.draw(st.integers(0, 3)) == 0:
        content += edit.bytes(data, b"\nextends: low_data\nx: &a [*a, !!int 3, 2001-01-01, 1:30, 0x1f]\n")
    path = sandbox.input / "s.yaml"
    path.write_bytes(content)
    quick = data.draw(st.sampled_from([(), ("--quick",)]))
    words = data.draw(st.sampled_from([("suite", "show", path), ("suite", "run", path, "--dry-run")]))
    sandbox.attempt(*words, *quick)


@fuzz
@given(data=DATA)
def test_network(data: Data, sandbox: Any, edit: Any, materials: Path) -> None:
    sandbox.begin(materials / "runs")
    (record,) = (sandbox.input / "data").rglob("run.json")
    model = record.parent / "model"
    if data.draw(st.booleans()):
        path = model / "architecture.json"
        path.write_bytes(edit.json(data, json.loads(path.read_text())))
    else:
        path = model / "weights.safetensors"
        path.write_bytes(edit.bytes(data, path.read_bytes(), data.draw(st.sampled_from([1500, None]))))
    edit.sign(record)
    (sandbox.input / "a.nii").write_bytes(nifti(np.float32, 1))
    words = data.draw(
        st.sampled_from(
            [
                ("predict", record.parent, sandbox.input / "a.nii", "--output", sandbox.out),
                ("latency", record.parent, "--seconds", "0.01", "--backend", "eager"),
                ("store", "check", "--runs", sandbox.input),
            ]
        )
    )
    sandbox.attempt(*words)


def archive() -> bytes:
    """Return a small tar archive."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in (("Task/dataset.json", b"{}"), ("Task/imagesTr/a.nii", b"x" * 700), ("Task/ü" * 40, b"y")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


@fuzz
@given(data=DATA)
def test_archive(data: Data, sandbox: Any, edit: Any, refusal: Refusal) -> None:
    sandbox.begin()
    content = edit.bytes(data, archive())
    name = data.draw(st.sampled_from(["a.tar", "a.tar.gz"]))
    (sandbox.out / name).write_bytes(gzip.compress(content, 1) if name.endswith("gz") else content)
    before = sandbox.files()
    message = refusal(lambda: fetch(Archive(url=f"http://127.0.0.1:9/{name}", md5=None, folder="d"), sandbox.out))
    assert "\n" not in message
    assert (sandbox.out / "d").is_dir() == (not message)
    assert sandbox.files() == before
    assert not [path for path in sandbox.out.rglob("*") if path.is_symlink()]


DOCUMENT = """# Title
<!-- stampbench leaderboard --runs {tables} --dataset data -->
old
<!-- end -->
<!-- stampbench figure pareto --runs {tables} -->
![figure](figure.svg)
<!-- stampbench compare a b -->
<!-- end -->
"""
WORDS = (
    "--output", "{victim}", "--output={victim}", "run", "figure", "../f.svg", "--", "--help", "'", "\n", "-->",
    "![", "](",
    "<!-- end -->", "publish", "--folder", "segmentations", "stampbench ", "a.svg", "/tmp/x.svg", "\0", "é", "--debug",
)  # fmt: skip


@fuzz
@given(data=DATA)
def test_document(data: Data, sandbox: Any, edit: Any, materials: Path) -> None:
    sandbox.begin()
    parts = DOCUMENT.split(" ")
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(parts) - 1))
        word = data.draw(st.sampled_from(WORDS)).format(victim=sandbox.root / "victim.txt")
        parts[at] = word if data.draw(st.booleans()) else f"{parts[at]} {word}"
    text = " ".join(parts).replace("{tables}", str(materials / "runs")).encode(errors="surrogatepass")
    (sandbox.out / "d.md").write_bytes(text if data.draw(st.integers(0, 5)) else edit.bytes(data, text))
    sandbox.attempt("render", "d.md", *data.draw(st.sampled_from([(), ("--check",)])))
