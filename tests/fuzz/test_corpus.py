"""Inputs that once crashed, hung, fooled or escaped a command; each was found by mutation or by hand."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

DEEP = b"[" * 100_000
ALIASES = "\n".join(
    ["a0: &a0 [x]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12))]
).encode()
SUITE = b"strategies: [flat]\ndatasets: ['phantom2d:size=16,cases=14']\nprotocol: quick\n"


def changed(**keys: Any) -> Callable[[bytes], bytes]:
    """Return a function that changes keys of a JSON document; a key such as `results__epochs` is one within another."""

    def change(content: bytes) -> bytes:
        document = json.loads(content)
        for path, value in keys.items():
            *holders, key = path.split("__")
            holder = document
            for each in holders:
                holder = holder[each]
            holder[key] = value
        return json.dumps(document).encode()

    return change


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (DEEP, 2),
        (changed(labels={"background": 0} | {f"c{value}": value for value in range(1, 300)}), 2),
        (changed(modality={}), 2),
        (changed(modality=["CT"]), 2),
        (changed(training=[{"image": "../victim.txt", "label": "labelsTr/case_00.nii.gz"}]), 2),
        (changed(training=[{"image": "a" * 5000, "label": "labelsTr/case_00.nii.gz"}]), 2),
        (changed(labels={"background": 0, "\x1b[2J": 1}), 2),
    ],
)
def test_dataset_json(content: Any, code: int, sandbox: Any, materials: Path) -> None:
    sandbox.begin(materials / "data")
    path = sandbox.input / "dataset.json"
    path.write_bytes(content(path.read_bytes()) if callable(content) else content)
    assert sandbox.attempt("datasets", "check", sandbox.input, "--overview", "o.png")[0] == code


@pytest.mark.parametrize(
    "content",
    [
        b"seeds: " + DEEP,
        ALIASES + b"\nstrategies: *a11",
        SUITE + b"folds: 1000000000",
        SUITE + b"protocol_set: {folds: 1000000000}",
        SUITE + b"seeds: [" + b"9" * 5000 + b"]",
        SUITE + b"seeds: [2001-99-99]",
        SUITE.replace(b"cases=14", b"cases=100000000"),
        b"extends: x/../s.yaml",
        b"strategies: [flat]\ndatasets: [phantom2d]\nn_train: &a [*a]",
    ],
)
def test_suite(content: bytes, sandbox: Any) -> None:
    (sandbox.input / "s.yaml").write_bytes(content)
    (sandbox.input / "x").mkdir()
    assert sandbox.attempt("suite", "run", sandbox.input / "s.yaml", "--dry-run")[0] == 2


@pytest.mark.parametrize(
    "dataset", ["phantom2d:cases=99999999999", "phantom3d:size=4096", "a" * 5000, "~nobody-here/x"]
)
def test_dataset(dataset: str, sandbox: Any) -> None:
    assert sandbox.attempt("run", "--dataset", dataset, "--strategy", "flat", "--dry-run")[0] == 2


@pytest.mark.parametrize(
    "document",
    [
        "<!-- stampbench leaderboard --runs {runs} --output {victim} -->\n<!-- end -->\n",
        "<!-- stampbench figure pareto --runs {runs} -->\n![](../escaped.svg)\n",
        "<!-- stampbench  figure pareto --runs {runs} -->\n<!-- end -->\n",
        "<!-- stampbench publish --runs {runs} --output {victim} -->\n<!-- end -->\n",
    ],
)
@pytest.mark.parametrize("check", [("--check",), ()])
def test_document(document: str, check: tuple[str, ...], sandbox: Any, materials: Path) -> None:
    text = document.format(runs=materials / "runs", victim=sandbox.root / "victim.txt")
    (sandbox.out / "d.md").write_text(text)
    assert sandbox.attempt("render", "d.md", *check)[0] == 2
    assert (sandbox.out / "d.md").read_text() == text


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("architecture.json", DEEP),
        ("architecture.json", changed(convs=[1, 1, 1, 20_000, 20_000, 1])),
        ("architecture.json", changed(out_channels=10**30)),
        ("weights.safetensors", None),
    ],
)
@pytest.mark.parametrize(
    "command", [("predict", "{run}", "no.nii", "--output", "o"), ("store", "check", "--runs", "{runs}")]
)
def test_network(name: str, change: Any, command: tuple[str, ...], sandbox: Any, edit: Any, materials: Path) -> None:
    sandbox.begin(materials / "runs")
    (record,) = (sandbox.input / "data").rglob("run.json")
    path = record.parent / "model" / name
    if change is None:
        tensors = load_file(path)
        tensors["head.bias"][:] = np.nan
        save_file(tensors, path)
    else:
        path.write_bytes(change(path.read_bytes()) if callable(change) else change)
    edit.sign(record)
    words = [word.format(run=record.parent, runs=sandbox.input) for word in command]
    assert sandbox.attempt(*words)[0] == (2 if command[0] == "predict" else 1)


def columns(**values: object) -> Callable[[bytes], bytes]:
    """Return a function that sets the first row of columns of a CSV table."""

    def change(content: bytes) -> bytes:
        head, first, *others = content.decode().splitlines()
        cells = dict(zip(head.split(","), first.split(","), strict=True)) | {key: str(v) for key, v in values.items()}
        return "\n".join([head, ",".join(cells.values()), *others, ""]).encode()

    return change


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("cases.csv", columns(dice="inf")),
        ("cases.csv", columns(dice=-0.5)),
        ("cases.csv", columns(dice=1.5)),
        ("cases.csv", columns(hd95=-3)),
        ("cases.csv", columns(msd=-1)),
        ("cases.csv", columns(dice="text")),
        ("cases.csv", lambda content: content + b"\n"),
        ("cases.csv", lambda content: content.replace(b",", b",\xff", 1)),
        ("run.json", lambda content: DEEP),
        ("run.json", changed(files=1)),
        ("run.json", changed(schema=[])),
        ("run.json", changed(id="../../escaped")),
        ("run.json", changed(id=10**400)),
        ("run.json", lambda content: content.replace(b"standard", b"\xff", 1)),
    ],
)
def test_record(name: str, change: Callable[[bytes], bytes], sandbox: Any, edit: Any, materials: Path) -> None:
    """A damaged record is one line, and the other records are shown."""
    sandbox.begin(materials / "runs")
    (record,) = (sandbox.input / "data").rglob("run.json")
    path = record.parent / name
    path.write_bytes(change(path.read_bytes()))
    if name != "run.json":
        edit.sign(record)
    code, text = sandbox.attempt("leaderboard", "--runs", sandbox.input)
    assert code == 0
    assert re.search("phantom2d", text)
    assert not re.search(r"\| standard.*\n(.*\n)*.*\| standard", text), "the damaged record is in a leaderboard"
    assert sandbox.attempt("store", "check", "--runs", sandbox.input)[0] == 1
    assert sandbox.attempt("submit", "check", sandbox.input, "--rescore", "0")[0] in (1, 2)


@pytest.mark.parametrize(
    "change",
    [changed(dataset__classes=7), changed(dataset__channels=None), changed(dataset=[]), changed(spec={})],
)
def test_record_of_a_network(change: Callable[[bytes], bytes], sandbox: Any, materials: Path) -> None:
    """Commands that open one run refuse its record; those that read all runs skip it."""
    sandbox.begin(materials / "runs")
    (record,) = (sandbox.input / "data").rglob("run.json")
    record.write_bytes(change(record.read_bytes()))
    image = materials / "data" / "imagesTr" / "case_00.nii.gz"
    for words in (
        ("predict", record.parent, image, "--output", "labels"),
        ("latency", record.parent, "--seconds", "0.01"),
        ("export", record.parent, "--format", "pt2"),
    ):
        assert sandbox.attempt(*words)[0] == 2
    assert sandbox.attempt("report", "--runs", sandbox.input, "--output", "page", "--no-pictures")[0] == 0


@pytest.mark.parametrize(("row", "column"), [(0, 1), (1, 0), (2, 0)])
def test_header(row: int, column: int, sandbox: Any, materials: Path) -> None:
    """One damaged number beside the diagonal of the affine; the axes cannot be told any more."""
    (run,) = (materials / "runs" / "data").rglob("run.json")
    image = nib.Nifti1Image(np.ones((8, 8, 4), np.float32), np.diag([1.5, 1.5, 3, 1]))
    image.header["srow_" + "xyz"[row]][column] = 3.4e38
    (sandbox.input / "a.nii").write_bytes(bytes(image.header.structarr.tobytes()) + bytes(4) + image.to_bytes()[352:])
    assert sandbox.attempt("predict", run.parent, sandbox.input / "a.nii", "--output", "labels")[0] == 2
    assert not (sandbox.out / "labels").exists()


def test_label(sandbox: Any, materials: Path) -> None:
    """A name that would be a command in a document is shown as text."""
    sandbox.begin(materials / "runs")
    (record,) = (sandbox.input / "data").rglob("run.json")
    record.write_bytes(changed(label="x\n<!-- stampbench figure pareto --output /victim -->")(record.read_bytes()))
    for words in (("leaderboard",), ("figure", "pareto", "--output", "p.svg"), ("report", "--output", "page")):
        assert "<!--" not in sandbox.attempt(*words, "--runs", sandbox.input)[1]
