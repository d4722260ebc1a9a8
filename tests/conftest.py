"""Options and fixtures that several test folders share."""

from __future__ import annotations

import functools
import gc
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from importlib import util
from pathlib import Path
from types import ModuleType

import nibabel as nib
import numpy as np
import pytest
import torch
from filelock import FileLock
from hypothesis import settings
from PIL import Image

from stampbench.benchmark.cli import main as cli
from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.execution import runner

torch.set_num_threads(1)
# Tests run beside others on shared machines, where a deadline says more about the machine than about the code.
settings.register_profile("stampbench", deadline=None)
settings.load_profile("stampbench")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kernels", choices=["fast", "plain"], default="fast", help="kernels that tests train with")
    parser.addoption("--device", default="cuda", help="device of tests marked gpu; cpu rehearses those in tests/gpu")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not torch.cuda.is_available() and config.getoption("--device") != "cpu":
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session")
def device(request: pytest.FixtureRequest) -> torch.device:
    """Device of tests marked gpu, with its number."""
    chosen = torch.device(request.config.getoption("--device"))
    return torch.device("cuda", chosen.index or 0) if chosen.type == "cuda" else chosen


@pytest.fixture
def compute(request: pytest.FixtureRequest) -> ComputeSettings:
    """Compute settings of runs on the CPU, with the kernels of `--kernels`."""
    return ComputeSettings(device="cpu", kernels=request.config.getoption("--kernels"))


@pytest.fixture(autouse=True)
def _separate_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Give every test an empty cache of prepared cases."""
    monkeypatch.setenv("STAMPBENCH_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="session", autouse=True)
def _no_power_failures() -> Iterator[None]:
    """Do not wait until files are on the disk; tests of what is written then put their own function there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _short_timings() -> Iterator[None]:
    """Time the networks of finished runs in as few rounds as possible; else each takes up to four seconds."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runner, "_LATENCY_SECONDS", 0.0)
        yield


@pytest.fixture(scope="session", autouse=True)
def _modules_are_no_garbage() -> None:
    """Collect garbage rarely, and nothing that was imported before the first test: it takes a twelfth of the time."""
    gc.freeze()
    gc.set_threshold(20_000, 20, 50)


@pytest.fixture
def real_data() -> Path:
    """Folder of the real datasets; the test is skipped if `STAMPBENCH_DATA` names no such folder."""
    folder = os.environ.get("STAMPBENCH_DATA")
    if not folder or not Path(folder).is_dir():
        pytest.skip("STAMPBENCH_DATA does not name a folder of real data")
    return Path(folder)


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, Callable[[Path], object]], Path]:
    """Function that returns the folder of a name, which all tests share and must not change.

    Another function fills it when it is first asked for in a session, in any of pytest-xdist's workers, which share the
    parent of their temporary folders.
    """
    base = tmp_path_factory.getbasetemp()
    root = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "shared"

    def made(name: str, fill: Callable[[Path], object]) -> Path:
        folder, complete = root / name, root / f"{name}.complete"
        root.mkdir(exist_ok=True)
        with FileLock(root / f"{name}.lock"):
            if not complete.exists():
                folder.mkdir()
                fill(folder)
                complete.touch()
        return folder

    return made


@pytest.fixture(scope="session")
def write_decathlon() -> Callable[..., Path]:
    """Function that writes a small dataset in the Decathlon's format below a folder and returns its path."""

    def write(
        root: Path,
        name: str = "Task05_Prostate",
        cases: int = 16,
        shape: tuple[int, ...] = (20, 18, 3),
        channels: tuple[str, ...] = ("T2", "ADC"),
        classes: tuple[str, ...] = ("background", "PZ", "TZ"),
        affine: np.ndarray | None = None,
    ) -> Path:
        folder = root / name
        rng = np.random.default_rng(0)
        for part in ("imagesTr", "labelsTr"):
            (folder / part).mkdir(parents=True)
        affine = np.diag([0.6, 0.6, 4.0, 1.0]) if affine is None else affine
        training = []
        for number in range(cases):
            label = np.zeros(shape, np.uint8)
            for value in range(1, len(classes)):
                start = [int(rng.integers(1, 4)) + 5 * (value - 1) for _ in shape[:2]]
                label[start[0] : start[0] + 6, start[1] : start[1] + 6] = value
            image = np.stack([label * 50.0 + rng.normal(100, 5, shape) for _ in channels], axis=-1)
            image = image[..., 0] if len(channels) == 1 else image
            file = f"case_{number:02d}.nii.gz"
            nib.save(nib.Nifti1Image(image.astype(np.float32), affine), folder / "imagesTr" / file)
            nib.save(nib.Nifti1Image(label, affine), folder / "labelsTr" / file)
            training.append({"image": f"./imagesTr/{file}", "label": f"./labelsTr/{file}"})
        declared = {
            "name": name,
            "modality": {str(index): channel for index, channel in enumerate(channels)},
            "labels": {str(index): label for index, label in enumerate(classes)},
            "numTraining": cases,
            "training": training,
        }
        (folder / "dataset.json").write_text(json.dumps(declared))
        return folder

    return write


@pytest.fixture
def decathlon(write_decathlon: Callable[..., Path], tmp_path: Path) -> Callable[..., Path]:
    """Function that writes a small dataset in the Decathlon's format below `tmp_path` and returns its path."""
    return functools.partial(write_decathlon, tmp_path)


def run_command(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *words: object
) -> tuple[int, str, str]:
    """Run a `stampbench` command in this process; return its exit code, output and error output."""
    monkeypatch.setattr(sys, "argv", ["stampbench", *map(str, words)])
    with pytest.raises(SystemExit) as raised:
        cli.main()
    output = capsys.readouterr()
    return int(raised.value.code or 0), output.out, output.err


@pytest.fixture
def stampbench(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., tuple[int, str, str]]:
    """Function that runs a command in `tmp_path`, without a data root; returns exit code, output and error output."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("STAMPBENCH_DATA", raising=False)
    return functools.partial(run_command, capsys, monkeypatch)


@pytest.fixture(scope="session")
def own_images() -> Callable[[Path], Path]:
    """Function that writes the folder `Dataset501_Mine` of the site's first page: 24 PNG images of one organ."""

    def write(root: Path) -> Path:
        folder, rng = root / "Dataset501_Mine", np.random.default_rng(0)
        for part in ("imagesTr", "labelsTr"):
            (folder / part).mkdir(parents=True)
        rows, columns = np.mgrid[:32, :32]
        for number in range(1, 25):
            label = (rows - rng.integers(10, 22)) ** 2 + (columns - rng.integers(10, 22)) ** 2 < 36
            image = 60 + 80 * label + rng.normal(0, 10, label.shape)
            name = f"patient{number:02d}"
            Image.fromarray(image.clip(0, 255).astype(np.uint8)).save(folder / "imagesTr" / f"{name}_0000.png")
            Image.fromarray(label.astype(np.uint8)).save(folder / "labelsTr" / f"{name}.png")
        declared = {
            "channel_names": {"0": "MR"},
            "labels": {"background": 0, "organ": 1},
            "numTraining": 24,
            "file_ending": ".png",
        }
        (folder / "dataset.json").write_text(json.dumps(declared))
        return folder

    return write


@pytest.fixture(scope="session")
def run_page() -> Callable[..., str]:
    """Function that executes the `sh` and `python` blocks of a page in order, and returns what they print."""

    def run(page: Path, folder: Path, environment: dict[str, str]) -> str:
        lines = []
        for kind, block in re.findall(r"^```(sh|python)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE):
            lines.append(block if kind == "sh" else f"python - <<'END'\n{block}END\n")
        assert lines
        words = ["/bin/bash", "-euo", "pipefail", "-x", "-c", "".join(lines)]
        done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture(scope="session")
def dicom() -> ModuleType:
    """Writers of DICOM files, which need an extra."""
    pytest.importorskip("highdicom")
    return load_helper("datasets/dicom.py")


@pytest.fixture(scope="session")
def step_worker() -> ModuleType:
    """The module of the processes whose training steps benchmarks time."""
    return load_helper("perf/worker.py")


@pytest.fixture(scope="session")
def cuda_sharing() -> ModuleType:
    """The module that lets several processes share a GPU in benchmarks."""
    return load_helper("perf/cuda_sharing.py")


@pytest.fixture
def nnunet_result(tmp_path: Path) -> Callable[..., tuple[Path, torch.nn.Module]]:
    """Function that writes a result folder of nnU-Net below `tmp_path`; see `models/nnunet_layout.py`."""
    return functools.partial(load_helper("models/nnunet_layout.py").write_result, tmp_path)


def load_helper(path: str) -> ModuleType:
    """Return a module of the tests that is not one of tests."""
    file = Path(__file__).parent / path
    spec = util.spec_from_file_location(file.stem, file)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
