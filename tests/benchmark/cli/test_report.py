"""The command `stampbench report`."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

Command = Callable[..., tuple[int, str, str]]


def test_output_folder_that_cannot_be_written_is_refused(recorded_runs: Any, stampbench: Command) -> None:
    code, _, err = stampbench("report", "--output", "/dev/null/x", "--runs", recorded_runs.runs)
    assert code == 2
    assert "cannot write /dev/null/x" in err


def test_one_damaged_run_or_image_does_not_stop_a_page_or_figure(copied_runs: Any, stampbench: Command) -> None:
    folder = next(copied_runs.runs.glob("*/standard/*"))
    record = json.loads((folder / "run.json").read_text())
    for name in ("epochs.csv", "latency.csv"):
        (folder / name).write_text("nothing,useful\n1,2\n")
        record["files"][name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
    (folder / "run.json").write_text(json.dumps(record))
    code, _, err = stampbench("figure", "losses", "--runs", copied_runs.runs, "--output", "losses.svg")
    assert (code, err.count("warning: skipped: "), "epochs.csv: unknown column" in err) == (0, 1, True), err
    image = next(Path(copied_runs.data).rglob("imagesTr/*.nii.gz"))
    status, content = image.stat(), image.read_bytes()
    image.write_bytes(b"\0" * len(content))
    try:
        code, _, err = stampbench(
            "report", "--runs", copied_runs.runs, "--output", "page", "--data-root", copied_runs.data
        )
    finally:
        image.write_bytes(content)
    assert (code, "Traceback" in err) == (0, False), err
    assert status.st_size == len(content)
