"""The Python interface, as a notebook uses it."""

from __future__ import annotations

from pathlib import Path

import pytest

from stampbench.benchmark.api import (
    ComputeSettings,
    ExecutorSettings,
    RunOptions,
    leaderboard,
    open_dataset,
    read_records,
    run,
    run_suite,
)
from stampbench.benchmark.errors import TrainingFailedError, UserError
from stampbench.benchmark.execution.executors import local
from stampbench.benchmark.execution.executors.serial import SerialExecutor
from stampbench.benchmark.execution.job import WorkerSettings
from stampbench.models.errors import ModelError
from stampbench.strategies.registry import STRATEGIES

TINY = ("quick", {"folds": 2, "batch_size": 2, "max_epochs": 2})
PHANTOM = "phantom2d:size=16,cases=14"


def options(tmp_path: Path, **others: object) -> RunOptions:
    return RunOptions.model_validate(
        {"runs": tmp_path / "runs", "compute": ComputeSettings(device="cpu", threads=1), **others}
    )


def tiny(name: str, **settings: object) -> dict[str, object]:
    return {"name": name, "set": {"f": 2, "depth": 1, **settings}}


def test_the_example_of_the_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in the docstring and in docs/api.md, on a dataset and protocol of seconds."""
    monkeypatch.chdir(tmp_path)
    records = run(
        [tiny("standard"), tiny("stamp_plus", filters_per_step=8)], dataset=PHANTOM, n_train=8, folds=[0], protocol=TINY
    )
    assert sorted(records.runs["name"]) == ["stamp_plus", "standard"]
    assert set(records.runs["n_train"]) == {8}
    assert set(records.cases["run"]) == set(records.trajectories["run"]) == set(records.runs["run"])
    board = leaderboard(records)
    assert list(board["tier"]) == [1, 1]
    assert board["dice"].is_monotonic_decreasing
    assert set(board["parameters"]) == set(records.runs["parameters"])
    assert {"dataset", "strategy", "dice", "parameters", "epochs"} <= set(board)
    written = {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*") if path.is_file()}
    again = run([tiny("standard")], dataset=PHANTOM, n_train=8, folds=[0], protocol=TINY)
    assert list(again.runs["name"]) == ["standard"]
    assert {path: path.stat().st_mtime_ns for path in Path("runs").rglob("*") if path.is_file()} == written


def test_networks_seeds_and_training_sets(tmp_path: Path) -> None:
    networks = [{"name": "residual_unet", "set": {"f": 2, "depth": 1}}]
    chosen = options(tmp_path)
    records = run(
        "standard", PHANTOM, networks=networks, n_train=8, folds=[0], protocol=TINY, options=chosen, seed=3,
        training_set=1,
    )  # fmt: skip
    assert records.runs[["seed", "training_set"]].to_numpy().tolist() == [[3, 1]]
    (label,) = records.runs["strategy"]
    assert "residual_unet" in label
    with pytest.raises(UserError, match="did you mean 'residual_unet'"):
        run("standard", PHANTOM, networks="residual_net", options=chosen)
    with pytest.raises(ModelError, match=f"weights {tmp_path / 'absent'}: no such file"):
        run("standard", PHANTOM, weights=tmp_path / "absent", options=chosen)
    with pytest.raises(TypeError, match=r"run\(\) has no argument 'sed'"):
        run("standard", PHANTOM, sed=3, options=chosen)  # type: ignore[call-arg]


def test_a_parent_run_is_executed_and_not_returned(tmp_path: Path) -> None:
    chosen = options(tmp_path)
    records = run([tiny("prune_finetune", filters_per_step=16)], PHANTOM, folds=[0], protocol=TINY, options=chosen)
    assert list(records.runs["name"]) == ["prune_finetune"]
    assert sorted(read_records(chosen.runs).runs["name"]) == ["prune_finetune", "standard"]


def test_the_settings_of_executors_are_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers give the same records as one process: see `executors/test_local.py`."""
    jobs: list[int] = []

    class Recorded(SerialExecutor):
        def __init__(self, settings: WorkerSettings, number: int, gpus: int) -> None:
            jobs.append(number)
            super().__init__(settings, 1, quiet=True)

    monkeypatch.setattr(local, "LocalExecutor", Recorded)
    chosen = options(tmp_path, executors=ExecutorSettings(jobs=2))
    assert list(run([tiny("flat")], PHANTOM, folds=[0], protocol=TINY, options=chosen).runs["name"]) == ["flat"]
    assert jobs == [2]


def test_a_suite_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(
        f"strategies: [{{name: flat, set: {{depth: 1}}, grid: {{f: [1, 2]}}}}]\ndatasets: ['{PHANTOM}']\n"
        "folds: [0]\nprotocol: quick\nprotocol_set: {folds: 2, max_epochs: 2}\n"
    )
    records = run_suite(str(tmp_path / "mine.yaml"), options=options(tmp_path))
    assert sorted(records.runs["strategy"]) == ["flat (f=1, depth=1)", "flat (f=2, depth=1)"]


def test_errors_are_the_packages_exceptions(tmp_path: Path) -> None:
    chosen = options(tmp_path)
    with pytest.raises(UserError, match="did you mean 'stamp'"):
        run("stmp", PHANTOM, options=chosen)
    with pytest.raises(UserError, match=r"run: n_train\.0='few': neither 'all' nor a number of images from 2"):
        run("stamp", PHANTOM, n_train="few", options=chosen)  # type: ignore[arg-type]
    with pytest.raises(UserError, match="run: folds='x': neither 'all' nor fold numbers"):
        run("stamp", PHANTOM, folds="x", options=chosen)
    with pytest.raises(UserError, match="unknown dataset 'hipocampus'; did you mean 'hippocampus'"):
        open_dataset("hipocampus")
    with pytest.raises(UserError, match=r"dataset 'phantom2d': image_size='big': not a size such as 64x64x64"):
        open_dataset("phantom2d", image_size="big")
    with pytest.raises(UserError, match="no runs at"):
        read_records(tmp_path / "nowhere")


def test_a_failed_run_raises_after_the_others_are_finished(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(STRATEGIES, "broken", STRATEGIES["standard"])  # so that it is gone after the test
    monkeypatch.delitem(STRATEGIES, "broken")
    plugin = tmp_path / "broken.py"
    plugin.write_text(
        "from stampbench.strategies.base import Strategy\n"
        "class Broken(Strategy):\n"
        "    '''Fails when it trains.'''\n"
        "    def fit(self, trainer):\n"
        "        trainer.checkpoint()\n"
        "        if hasattr(trainer, 'session'):\n"
        "            raise RuntimeError('broken')\n"
    )
    chosen = options(tmp_path, plugins=(plugin,))
    with pytest.raises(TrainingFailedError, match=r"1 of 2 runs failed: .*broken.*: RuntimeError: broken"):
        run([tiny("broken"), tiny("flat")], PHANTOM, folds=[0], protocol=TINY, options=chosen)
    assert list(read_records(chosen.runs).runs["name"]) == ["flat"]
