"""Help texts of the command line, and the time until they appear."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable

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
