"""The commands `stampbench suite run` and `stampbench suite show`."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stampbench.benchmark.api import RunOptions, plan
from stampbench.benchmark.config.suite_file import load_suite, suite_names
from stampbench.benchmark.records.lease import Lease
from stampbench.benchmark.records.run_store import RunStore
from stampbench.datasets.catalogue import CATALOGUE

Command = Callable[..., tuple[int, str, str]]


def test_unknown_suites_are_refused(stampbench: Command) -> None:
    assert "unknown suite 'low_dta'; did you mean 'low_data'?" in stampbench("suite", "show", "low_dta")[2]
    assert "no-such.yaml: No such file" in stampbench("suite", "run", "no-such.yaml")[2]


@pytest.mark.parametrize("name", suite_names())
def test_built_in_suites_name_the_paper_that_they_reproduce(name: str, stampbench: Command) -> None:
    suite = load_suite(name).suite
    assert "et al." in suite.source or "Hassler" in suite.source
    assert suite.summary
    assert suite.paper
    assert suite.quick
    for block in suite.blocks():
        assert all(dataset.name in CATALOGUE for dataset in block.datasets)
    code, out, _ = stampbench("suite", "show", name)
    assert (code, suite.summary in out) == (0, True)


def test_absent_datasets_are_refused_or_skipped(tmp_path: Path, stampbench: Command) -> None:
    """Without the data, all runs of the suite are skipped with a warning, or the first absent dataset is an error."""
    code, _, err = stampbench("suite", "run", "low_data", "--dry-run", "--skip-absent", "--data-root", tmp_path)
    assert code == 2
    assert "warning: skipped: dataset 'harp': folder" in err
    assert "suite 'low_data' has no runs" in err
    code, _, err = stampbench("suite", "run", "low_data", "--dry-run", "--data-root", tmp_path)
    assert code == 2
    assert "low_data.yaml:8: dataset 'harp': folder" in err


def test_dry_run_counts_finished_runs_and_estimates_time(
    suite_text: str, write_suite: Callable[..., Path], tmp_path: Path, stampbench: Command
) -> None:
    path = write_suite(suite_text.replace("seeds: [0, 3]", "seeds: [0]"))
    code, out, _ = stampbench("suite", "run", path, "--dry-run")
    assert code == 0
    assert out.splitlines()[0] == "12 runs: 0 finished, 12 to do, 0 failed"
    assert "at most 24 epochs; no estimate of the time: no comparable finished run" in out
    assert stampbench("suite", "run", path, "--only", "n=6 fold 0", "--threads", "1")[0] == 0
    code, out, _ = stampbench("suite", "run", path, "--dry-run")
    assert out.splitlines()[0] == "12 runs: 3 finished, 9 to do, 0 failed"
    assert "hours with 1 at a time" in out
    assert len(RunStore(tmp_path / "runs").statuses()) == 3
    assert "has no runs with n=99" in stampbench("suite", "run", path, "--only", "n=99")[2]


def test_dry_run_tells_running_runs_from_interrupted_ones(
    suite_text: str, write_suite: Callable[..., Path], tmp_path: Path, stampbench: Command
) -> None:
    path = write_suite(suite_text.replace("seeds: [0, 3]", "seeds: [0]"))
    before = stampbench("suite", "run", path, "--dry-run", "--only", "n=6 fold 0")[1].splitlines()[1:3]
    ids = [line.split()[0] for line in before]
    assert all("new, at most" in line for line in before)
    store = RunStore(tmp_path / "runs")
    options = RunOptions(runs=store.root)
    tasks = {task.job.id: task for task in plan(load_suite(str(path)), options)}
    for name in ids:
        folder = store.folder(tasks[name].run.spec)
        folder.mkdir(parents=True)
        (folder / "run.json").write_text(json.dumps({"id": name, "status": "running"}))
    with Lease(store.lease_folder(tasks[ids[0]].run.spec)):
        out = stampbench("suite", "run", path, "--dry-run", "--only", "n=6 fold 0")[1]
    running, interrupted = out.splitlines()[1:3]
    assert f": running, leased by pid {os.getpid()} on " in running
    assert ": interrupted, at most" in interrupted


def test_failed_runs_are_listed_and_retried_only_on_request(
    suite_text: str, write_suite: Callable[..., Path], tmp_path: Path, stampbench: Command
) -> None:
    plugin = tmp_path / "unready.py"
    plugin.write_text(
        "from pathlib import Path\n"
        "from stampbench.strategies.standard import Standard\n"
        "class Unready(Standard):\n"
        "    '''Fails until a file exists.'''\n"
        "    def fit(self, trainer):\n"
        f"        if type(trainer).__name__ == 'RunTrainer' and not Path({str(tmp_path / 'ready')!r}).exists():\n"
        "            raise RuntimeError('not ready')\n"
        "        trainer.train(1)\n"
        "        trainer.checkpoint()\n"
    )
    text = suite_text.replace("name: flat, set: {depth: 1}, grid: {f: [1, 2]}", "name: unready, set: {depth: 1}")
    path = write_suite(text.replace("[6, 8]", "[6]").replace("[0, 3]", "[0]"))
    run = ("suite", "run", path, "--plugin", plugin, "--threads", "1")
    code, out, err = stampbench(*run)
    assert code == 1
    assert err.count("failed: RuntimeError: not ready") == 2
    assert "2 of 4 runs failed; --retry-failed runs them again" in err
    code, out, err = stampbench(*run)
    assert (code, out.splitlines()[0]) == (1, "4 runs: 2 finished, 0 to do, 2 failed")
    assert "failed before (RuntimeError: not ready)" in err
    (tmp_path / "ready").touch()
    assert stampbench(*run, "--retry-failed")[0] == 0
    assert stampbench(*run)[1].splitlines()[0] == "4 runs: 4 finished, 0 to do, 0 failed"


def test_dry_run_of_ten_thousand_runs_takes_seconds(stampbench: Command, tmp_path: Path) -> None:
    (tmp_path / "many.yaml").write_text(
        "strategies: [{name: standard, grid: {f: [1, 2, 3, 4]}}, stamp, flat]\n"
        'datasets: ["phantom2d:size=16,cases=80"]\n'
        f"n_train: [20, 30, 40, 50]\nseeds: {list(range(84))}\nprotocol: quick\n"
    )
    started = time.process_time()
    code, out, _ = stampbench("suite", "run", "many.yaml", "--dry-run")
    assert time.process_time() - started < 10
    assert (code, out.splitlines()[0]) == (0, "10080 runs: 0 finished, 10080 to do, 0 failed")
