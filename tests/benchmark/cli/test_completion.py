"""Shell completion of names."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.shell_completion import BashComplete

from stampbench.benchmark.cli.main import cli

PUBLISHED = str(Path(__file__).parents[3] / "leaderboards")


def offered(words: str) -> list[str]:
    """Return what the shell offers for the last word."""
    *before, last = words.split(" ")
    completion = BashComplete(cli, {}, "stampbench", "_STAMPBENCH_COMPLETE")
    return [item.value for item in completion.get_completions(before, last)]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("run --strategy stamp_p", ["stamp_plus"]),
        ("run --strategy standard,stamp_p", ["standard,stamp_plus"]),
        ("run --network unet,dyn", ["unet,dynunet"]),
        ("run --dataset hip", ["hippocampus"]),
        ("run --protocol qu", ["quick"]),
        ("suite run low", ["low_data"]),
        ("figure latency", ["latency-along-pruning", "latency-by-backend", "latency-vs-parameters"]),
        ("datasets show hip", ["hippocampus"]),
        (f"leaderboard --runs {PUBLISHED} --strategy pocket", ["pocket_unet"]),
        (f"leaderboard --runs {PUBLISHED} --dataset a", ["acdc"]),
        (f"leaderboard --runs {PUBLISHED} --protocol paper", ["paper", "paper (patience=1736, max_epochs=1736)"]),
        ("figure pareto --runs nowhere --protocol pock", ["pocketnet"]),
        (f"compare --runs {PUBLISHED} prune", ["prune_finetune"]),
        (f"export --runs {PUBLISHED} 5ab71", ["5ab71a7b9b57"]),
        ("export --runs nowhere 5ab", []),
    ],
)
def test_names_are_offered(words: str, expected: list[str]) -> None:
    assert offered(words) == expected


SCRIPT = Path(sys.executable).with_name("stampbench")


@pytest.mark.skipif(not (shutil.which("bash") and SCRIPT.exists()), reason="needs bash and the installed command")
def test_bash_completes_a_name_as_it_is_typed() -> None:
    """It does not escape what it completes: 'flat (f=8)' would be a syntax error."""
    script = f"""
eval "$(_STAMPBENCH_COMPLETE=bash_source {shlex.quote(str(SCRIPT))})"
COMP_WORDS=(stampbench leaderboard --runs {shlex.quote(PUBLISHED)} --strategy flat)
COMP_CWORD=5
_stampbench_completion {shlex.quote(str(SCRIPT))}
printf '%s\\n' "${{COMPREPLY[@]}}"
"""
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True)
    typed = [line for line in done.stdout.splitlines() if "f=8" in line]
    assert typed == ["flat\\ \\(f=8\\)"]
    assert shlex.split(typed[0]) == ["flat (f=8)"]


def test_runs_of_a_store_are_offered(recorded_runs: Any) -> None:
    ids = sorted(recorded_runs.table()["run"])
    assert offered(f"export --runs {recorded_runs.runs} {ids[0][:8]}") == [
        each for each in ids if each[:8] == ids[0][:8]
    ]
