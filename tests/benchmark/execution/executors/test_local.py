"""Execution by worker processes on this machine."""

from __future__ import annotations

import os
import re
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

Command = Callable[..., tuple[int, str, str]]
RUN = (
    "run", "--dataset", "phantom2d:size=16,cases=14", "--folds", "0", "--protocol", "quick", "--set", "f=2",
    "--set", "depth=1", "--protocol-set", "max_epochs=2", "--protocol-set", "loss=dice_l2",
)  # fmt: skip


def test_two_workers_give_the_same_records_as_one_process(
    stampbench: Command, read_store: Callable[[Path], Any], tmp_path: Path
) -> None:
    words = (*RUN, "--strategy", "standard,stamp,prune_finetune", "--threads", "1")
    code, out, _ = stampbench(*words, "--runs", "two", "--jobs", "2")
    assert code == 0
    assert out.count("test Dice") == 3
    assert stampbench(*words, "--runs", "one")[0] == 0
    reference = read_store(tmp_path / "one")
    assert len(reference) == 3
    assert read_store(tmp_path / "two") == reference


def test_failed_parent_run_skips_only_the_runs_that_build_on_it(stampbench: Command, tmp_path: Path) -> None:
    (tmp_path / "plugin.py").write_text(
        "from stampbench.strategies.base import Parent, Strategy\n"
        "class Broken(Strategy):\n"
        "    def fit(self, trainer):\n"
        "        if hasattr(trainer, 'trajectory'):\n"
        "            raise RuntimeError('broken')\n"
        "        trainer.checkpoint()\n"
        "class Follows(Strategy):\n"
        "    def parents(self):\n"
        "        return {'first': Parent('broken', {})}\n"
        "    def fit(self, trainer):\n"
        "        trainer.adopt('first')\n"
        "        trainer.checkpoint()\n"
    )
    code, out, err = stampbench(
        *RUN, "--plugin", "plugin.py", "--strategy", "follows,standard", "--executor", "local", "--threads", "1"
    )
    assert code == 1
    assert "RuntimeError: broken" in err
    assert re.search(r"follows.*failed: its parent run \w{12} failed", err)
    assert out.count("test Dice") == 1


def test_two_commands_on_one_store_share_the_runs(logged_suite: Any) -> None:
    """The commands may have different executors; the later option counts."""
    logged_suite.write(5)
    commands = [logged_suite.start(), logged_suite.start("--executor", "serial")]
    outputs = [each.communicate(timeout=120)[0] for each in commands]
    assert [each.returncode for each in commands] == [0, 0], outputs
    epochs = logged_suite.epochs()
    assert len(epochs) == 5 * 12
    assert set(epochs.values()) == {1}
    # Each command executed at least one run.
    assert all(output.count("test Dice") >= 1 for output in outputs)
    assert sum(output.count("test Dice") for output in outputs) == 5


def test_run_of_a_killed_worker_is_resumed_by_a_new_worker(
    logged_suite: Any, read_store: Callable[[Path], Any], tmp_path: Path
) -> None:
    logged_suite.write(2)
    process = logged_suite.start()
    os.kill(int(logged_suite.wait_for(5)[-1][2]), signal.SIGKILL)
    logged_suite.make_fast()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert "its worker was killed; memory may have run out; retrying (2 of 3)" in output
    assert sum(logged_suite.epochs().values()) <= 2 * 12 + 1
    assert read_store(tmp_path / "runs") == read_store(logged_suite.run_undisturbed())


def test_ctrl_c_once_or_twice_stops_within_seconds_and_the_same_command_resumes(
    logged_suite: Any, read_store: Callable[[Path], Any], tmp_path: Path
) -> None:
    logged_suite.write(4)
    for times in (1, 2):
        process = logged_suite.start("--jobs", 2)
        logged_suite.wait_for(6 + sum(logged_suite.epochs().values()))
        interrupted = time.monotonic()
        for _ in range(times):
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
        output, _ = process.communicate(timeout=60)
        assert (": interrupted, at most" in output) == (times == 2), output  # what the command is going to resume
        assert time.monotonic() - interrupted < 30
        assert process.returncode == 130
        assert "interrupted; run the same command again to resume" in output
        assert sum(logged_suite.epochs().values()) < 4 * 12
    logged_suite.finish()  # the second command has shown that the same command resumes
    # At each interruption, both workers may have been within an epoch.
    assert sum(logged_suite.epochs().values()) <= 4 * 12 + 2 * 2
    assert read_store(tmp_path / "runs") == read_store(logged_suite.run_undisturbed())


def test_workers_end_when_the_scheduler_is_killed(logged_suite: Any) -> None:
    logged_suite.write(1)
    process = logged_suite.start()
    worker = int(logged_suite.wait_for(3)[-1][2])
    process.kill()
    process.wait()
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline and Path(f"/proc/{worker}").exists():
        time.sleep(0.1)
    assert not Path(f"/proc/{worker}").exists()
    logged_suite.make_fast()
    assert logged_suite.start().wait(120) == 0
    assert sum(logged_suite.epochs().values()) <= 12 + 1


def test_run_that_kills_its_worker_three_times_fails(tmp_path: Path, stampbench: Command) -> None:
    (tmp_path / "deadly.py").write_text(
        "import os, signal\nfrom stampbench.strategies.standard import Standard\n"
        "class Deadly(Standard):\n    '''Kills its process.'''\n    def fit(self, trainer):\n"
        "        if hasattr(trainer, 'replaying'):\n            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        trainer.train(1)\n        trainer.checkpoint()\n"
    )
    (tmp_path / "suite.yaml").write_text(
        "strategies: [{name: deadly, set: {f: 2, depth: 1}}, {name: flat, set: {f: 2, depth: 1}}]\n"
        'datasets: ["phantom2d:size=16,cases=14"]\nfolds: [0]\nprotocol: quick\n'
        "protocol_set: {folds: 2, max_epochs: 2, loss: dice_l2}\n"
    )
    code, _, err = stampbench(
        "suite", "run", tmp_path / "suite.yaml", "--plugin", tmp_path / "deadly.py", "--executor", "local"
    )
    assert code == 1
    assert "failed: its worker was killed; memory may have run out, 3 times" in err
    assert (tmp_path / "runs" / "phantom2d" / "flat").is_dir()
