"""The command `stampbench doctor`."""

from __future__ import annotations

from collections.abc import Callable

import torch


def test_doctor_reports_versions_data_root_and_datasets(stampbench: Callable[..., tuple[int, str, str]]) -> None:
    code, out, _ = stampbench("doctor")
    assert code == 0
    found = {line[:20].strip(): line[21:] for line in out.splitlines()}
    assert found["torch"].startswith(torch.__version__.split("+")[0])
    assert "set STAMPBENCH_DATA" in found["data root"]
    assert found["data hippocampus"].endswith("missing  → stampbench datasets download hippocampus")
