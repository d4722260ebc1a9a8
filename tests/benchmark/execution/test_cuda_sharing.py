"""Processes that share a GPU in benchmarks, with a stand-in for NVIDIA's multi-process service."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

CONTROL = """#!/bin/sh
if [ "$1" = -d ]; then echo "started in $CUDA_MPS_PIPE_DIRECTORY" >>{log}; exit {code}; fi
read line; echo "$line in $CUDA_MPS_PIPE_DIRECTORY" >>{log}
"""


@pytest.mark.parametrize("code", [0, 1])
def test_the_service_is_started_and_stopped_in_a_folder_of_its_own(
    cuda_sharing: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    log, pipe = tmp_path / "log.txt", tmp_path / "service" / "pipe"
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / cuda_sharing.CONTROL
    command.write_text(CONTROL.format(log=log, code=code))
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    with cuda_sharing.multi_process_service(tmp_path / "service") as environment:
        assert (environment or {}).get("CUDA_MPS_PIPE_DIRECTORY") == (str(pipe) if code == 0 else None)
    assert log.read_text().splitlines() == [f"started in {pipe}", f"quit in {pipe}"]


def test_an_absent_service_is_no_error(
    cuda_sharing: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with cuda_sharing.multi_process_service(tmp_path / "service") as environment:
        assert environment is None


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="not on Linux")
def test_processes_get_cores_of_their_own(cuda_sharing: ModuleType) -> None:
    cores = sorted(os.sched_getaffinity(0))
    processes = [subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) for _ in cores]
    try:
        cuda_sharing.pin([each.pid for each in processes])
        assert [os.sched_getaffinity(each.pid) for each in processes] == [{core} for core in cores]
    finally:
        for each in processes:
            each.kill()
            each.communicate()
