"""What users install: the wheel and the source distribution."""

from __future__ import annotations

import email.parser
import os
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
FOLDERS = ("models", "datasets", "strategies", "benchmark", "reports")


class Distribution(NamedTuple):
    """Paths of a wheel and a source distribution."""

    wheel: Path
    sdist: Path


def build(copy: Path) -> None:
    """Build both from a copy, because files of earlier builds in the folder `build` would get into the wheel."""
    for each in ROOT.iterdir():
        if each.is_file():
            shutil.copy(each, copy)
    for folder in (*FOLDERS, "docs", "tests", "tools"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    words = [sys.executable, "-m", "build", "--no-isolation", "--outdir", "dist", "."]
    done = subprocess.run(words, cwd=copy, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="session")
def built(made_once: Callable[[str, Callable[[Path], object]], Path]) -> Distribution:
    """The built wheel and source distribution."""
    copy = made_once("distributions", build)
    (wheel,), (sdist,) = (copy / "dist").glob("*.whl"), (copy / "dist").glob("*.tar.gz")
    return Distribution(wheel, sdist)


def test_wheel_holds_every_module_and_data_file_and_nothing_else(built: Distribution) -> None:
    expected = {
        f"stampbench/{path.relative_to(ROOT).as_posix()}"
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert "stampbench/benchmark/config/suites/low_data.yaml" in expected
    assert "stampbench/reports/assets/board.js" in expected
    with zipfile.ZipFile(built.wheel) as wheel:
        assert {name for name in wheel.namelist() if ".dist-info/" not in name} == expected


def test_wheel_has_the_command_the_version_and_the_requirements_of_pyproject(built: Distribution) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        (folder,) = {name.split("/")[0] for name in wheel.namelist() if ".dist-info/" in name}
        metadata = email.parser.HeaderParser().parsestr(wheel.read(f"{folder}/METADATA").decode())
        commands = wheel.read(f"{folder}/entry_points.txt").decode()
    assert folder == f"stampbench-{PROJECT['version']}.dist-info"
    assert "stampbench = stampbench.benchmark.cli.main:main" in commands
    required = [each for each in metadata.get_all("Requires-Dist") or [] if "extra ==" not in each]
    assert len(required) == len(PROJECT["dependencies"])


def test_source_distribution_can_be_built_and_tested(built: Distribution) -> None:
    with tarfile.open(built.sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    wanted = {"README.md", "LICENSE", "CHANGELOG.md", "constraints.txt", "tests/conftest.py", "docs/strategies.md"}
    assert wanted <= names
    assert not any(name.startswith("leaderboards/") for name in names)


def test_twine_accepts_both(built: Distribution) -> None:
    words = [sys.executable, "-m", "twine", "check", "--strict", str(built.wheel), str(built.sdist)]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_first_page_of_the_site_works_with_the_installed_wheel(
    built: Distribution, tmp_path: Path, own_images: Callable[[Path], Path], run_page: Callable[..., str]
) -> None:
    """A fresh environment without the checkout, git or make: from `pip install` to an exported network."""
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    commands, tools, folder = tmp_path / "venv" / "bin", tmp_path / "tools", tmp_path / "empty"
    folder.mkdir()
    tools.mkdir()
    for tool in ("ls", "head"):
        (tools / tool).symlink_to(str(shutil.which(tool)))
    install = [commands / "pip", "install", "--quiet", "-c", ROOT / "constraints.txt", f"{built.wheel}[export]"]
    subprocess.run([*map(str, install)], check=True)
    environment = {
        "PATH": f"{commands}:{tools}",
        "HOME": str(tmp_path),
        "STAMPBENCH_CACHE": str(tmp_path / "cache"),
        **{key: value for key, value in os.environ.items() if key.startswith("OPENBLAS_")},
    }

    def run(*words: str) -> str:
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    python = str(commands / "python")
    assert PROJECT["version"] in run(str(commands / "stampbench"), "--version")
    code = "from importlib.metadata import version; print(version('stampbench'))"
    assert run(python, "-c", code).strip() == PROJECT["version"]
    own_images(folder)
    assert "stamp_plus" in run_page(ROOT / "docs" / "start.md", folder, environment)
    assert (folder / "network.onnx").is_file()
    assert (folder / "labels" / "patient01.png").is_file()
    assert "stamp_plus" in run(python, "-m", "stampbench.benchmark", "leaderboard")
    run(python, "-m", "stampbench.benchmark", "report", "--output", "report")  # needs the files of reports/assets
    assert "low_data" in run(python, "-m", "stampbench.benchmark", "suite", "list")  # needs those of config/suites
