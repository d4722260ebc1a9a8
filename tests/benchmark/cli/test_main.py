"""Help texts of the command line, and the time until they appear."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Command = Callable[..., tuple[int, str, str]]


def test_help_is_fast_and_imports_no_heavy_package() -> None:
    code = "import sys; from stampbench.benchmark.cli.main import cli; cli(['--help'], standalone_mode=False); " + (
        "print(sorted({'torch', 'monai', 'pandas', 'matplotlib', 'pydantic'} & set(sys.modules)))"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.stdout.splitlines()[-1] == "[]"
    assert (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime) < 0.5


@pytest.mark.parametrize("words", [[], ["datasets"]])
def test_command_without_arguments_prints_its_help(stampbench: Command, words: list[str]) -> None:
    code, _, err = stampbench(*words)
    assert code == 2
    assert err.startswith("Usage: ")
    assert "Commands:" in err


def test_help_of_a_command_has_an_example(stampbench: Command) -> None:
    for words in (["run"], ["list"], ["datasets"], ["datasets", "show"], ["leaderboard"]):
        code, out, _ = stampbench(*words, "--help")
        assert code == 0
        assert "stampbench " + words[0] in out.split("Usage", 1)[1].split("\n", 1)[1], words


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_a_line() -> None:
    for words in (["list", "strategies"], ["store", "schema"]):
        command = [sys.executable, "-m", "stampbench.benchmark", *words]
        with Path("/dev/full").open("w") as full:
            done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
        assert (done.returncode, done.stderr) == (2, "error: No space left on device\n")
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (done.returncode, done.stderr) == (1, "")


def test_output_without_utf_8_or_without_a_stream_has_no_traceback() -> None:
    command = [sys.executable, "-m", "stampbench.benchmark", "list", "strategies"]
    done = subprocess.run(command, capture_output=True, env=os.environ | {"PYTHONIOENCODING": "koi8-r"})
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"?2.5.1" in done.stdout, "a section sign"
    closed = subprocess.run([*command, "--format", "short"], stderr=subprocess.PIPE, preexec_fn=lambda: os.close(1))
    assert (closed.returncode, closed.stderr) == (0, b"")


def test_files_that_cannot_be_written_or_read_are_a_line(stampbench: Command, recorded_runs: Any) -> None:
    Path("file").touch()
    too_long = "a" * 300
    for words in (
        ["leaderboard", "--runs", recorded_runs.runs, "--output", "file/table.md"],
        ["leaderboard", "--runs", recorded_runs.runs, "--output", too_long],
        ["leaderboard", "--runs", too_long],
        ["report", "--runs", recorded_runs.runs, "--output", "file/page", "--no-pictures"],
        ["report", "--runs", recorded_runs.runs, "--output", too_long, "--no-pictures"],
        ["submit", "check", too_long],
        ["run", "--strategy", "standard", "--dataset", "phantom2d", "--gpus", "nan", "--dry-run"],
        ["run", "--strategy", "standard", "--dataset", too_long],
        ["store", "check", "--runs", too_long],
    ):
        code, _, err = stampbench(*words)
        assert (code, err.count("\n")) == (2, 1), err
    assert sorted(path.name for path in Path().iterdir() if path.name != "cache") == ["file"]


def test_plug_in_that_ends_the_process_is_a_line(stampbench: Command) -> None:
    Path("plugin.py").write_text("raise SystemExit(0)\n")
    code, _, err = stampbench("run", "--plugin", "plugin.py", "--strategy", "standard", "--dataset", "phantom2d")
    assert code == 2
    assert "SystemExit" in err
