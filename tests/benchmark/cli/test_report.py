"""The command `stampbench report`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Command = Callable[..., tuple[int, str, str]]


def test_output_folder_that_cannot_be_written_is_refused(recorded_runs: Any, stampbench: Command) -> None:
    code, _, err = stampbench("report", "--output", "/dev/null/x", "--runs", recorded_runs.runs)
    assert code == 2
    assert "cannot write /dev/null/x" in err
