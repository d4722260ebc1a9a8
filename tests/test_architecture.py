"""The house: what a fresh interpreter finds, and what it must not load."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from importlib import metadata
from pathlib import Path

import pytest

HEAVY = ("torch", "monai", "pandas", "matplotlib", "scipy")


@pytest.mark.parametrize("words", [["--help"], ["list", "strategies"], ["datasets", "list"], ["list", "protocols"]])
def test_answers_without_heavy_imports(words: list[str]) -> None:
    code = (
        "import sys; from stampbench.benchmark.cli.main import cli; "
        f"cli({words!r}, standalone_mode=False); print(sorted(set({HEAVY!r}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


def test_nothing_but_stampbench_lands_in_site_packages() -> None:
    # Not the egg-info that an editable installation leaves beside the sources.
    (installed,) = metadata.distributions(name="stampbench", path=[sysconfig.get_path("purelib")])
    files = installed.files or []
    assert files
    tops = {file.parts[0] for file in files if ".." not in file.parts}
    assert not tops & {"benchmark", "models", "strategies", "datasets", "reports", "tests"}


def test_readme_lists_the_strategies_as_the_command_does() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "stampbench.benchmark", "list", "strategies"], capture_output=True, text=True, check=True
    )
    readme = (Path(__file__).parent.parent / "README.md").read_text()
    assert "".join(f"    {line}\n" for line in done.stdout.splitlines()) in readme
