"""Suites on this machine, on Ray and through submitit: the same records everywhere, whatever dies on the way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from stampbench.benchmark.config.suite_file import load_suite
from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.execution.executors.base import Executor
from stampbench.benchmark.execution.executors.local import LocalExecutor
from stampbench.benchmark.execution.executors.serial import SerialExecutor
from stampbench.benchmark.execution.expand_suite import expand_suite
from stampbench.benchmark.execution.job import Task, WorkerSettings
from stampbench.benchmark.execution.scheduler import Reporter, Scheduler
from stampbench.benchmark.records.run_store import RunStore

TIMES = ("training_seconds", "training_joules")

SUITE = """\
strategies:
  - {name: standard, set: {f: 2, depth: 1}}
  - {name: stamp_plus, set: {f: 2, depth: 1, filters_per_step: 3, recovery_epochs: 1}}
  - {name: flat, set: {f: 2, depth: 1}}
datasets: ["phantom2d:size=16,cases=14", "phantom3d:size=16,cases=14"]
n_train: [6, 8]
folds: [0, 1]
protocol: quick
protocol_set: {folds: 2, max_epochs: 3}
"""

# Writes a line for every epoch that is trained, and none for one that a resumed run already had; slowly, so that it can
# be disturbed, until `hurry`.
LOGGED = """\
import os, time
from pathlib import Path
from stampbench.strategies.standard import Standard

class Logged(Standard):
    '''Says what it trains.'''

    def fit(self, trainer):
        for epoch in range(12):
            if not getattr(trainer, "replaying", True):
                with open(os.environ["LOGGED"], "a") as log:
                    data = trainer.session.data
                    run = (self.rank_every, trainer.session._score_seed, *data.size, data.training.number)
                    log.write(f"{'-'.join(map(str, run))} {epoch} {os.getpid()}\\n")
                if not Path(os.environ["LOGGED"] + ".hurry").exists():
                    time.sleep(0.15)
            trainer.train(1)
        trainer.checkpoint()
"""


def whole(store: Path) -> dict[str, dict[str, Any]]:
    """Everything that is recorded of every run, but times and the place."""
    found = {}
    for path in store.rglob("run.json"):
        record, folder = json.loads(path.read_text()), path.parent
        assert record["status"] == "finished", record.get("reason")
        found[record["id"]] = {
            "spec": record["spec"],
            "summary": {key: value for key, value in record["summary"].items() if key not in TIMES},
            "weights": (folder / "model" / "weights.safetensors").read_bytes(),
            "architecture": (folder / "model" / "architecture.json").read_text(),
            "trajectory": pd.read_csv(folder / "trajectory.csv").drop(columns="seconds").to_csv(),
            "pruned": (folder / "pruned.csv").read_text(),
            "cases": (folder / "cases.csv").read_text(),
        }
    return found


def tasks_of(tmp_path: Path, text: str = SUITE) -> list[Task]:
    (tmp_path / "suite.yaml").write_text(text)
    return expand_suite(load_suite(str(tmp_path / "suite.yaml")), lambda request: request.open(None))


def workers(store: Path, save_every: float = 10.0, **others: Any) -> WorkerSettings:
    return WorkerSettings(runs=store, compute=ComputeSettings(threads=1, save_every=save_every), **others)


def schedule(tasks: list[Task], store: Path, executor: Executor) -> dict[str, str]:
    return Scheduler(tasks, RunStore(store), executor, Reporter()).run()


def command(tmp_path: Path, *words: object) -> list[str]:
    return [sys.executable, "-m", "stampbench.benchmark", "suite", "run", str(tmp_path / "suite.yaml"),
            "--threads", "1", "--executor", "local", *map(str, words)]  # fmt: skip


@pytest.fixture
def reference(tmp_path: Path) -> dict[str, dict[str, Any]]:
    """The suite's records, one run after the other."""
    store = tmp_path / "one"
    assert schedule(tasks_of(tmp_path), store, LocalExecutor(workers(store), 1)) == {}
    return whole(store)


@pytest.fixture
def cluster() -> Iterator[Any]:
    """Two nodes of one CPU on this machine."""
    ray = pytest.importorskip("ray", reason="the extra ray is not installed")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    made.second = made.add_node(num_cpus=1)
    made.wait_for_nodes()
    yield made
    ray.shutdown()
    made.shutdown()


def test_records_are_the_same_one_by_one_two_at_a_time_and_on_a_cluster(
    reference: dict[str, dict[str, Any]], cluster: Any, tmp_path: Path
) -> None:
    from stampbench.benchmark.execution.executors.ray import RayExecutor

    assert len(reference) == 24
    tasks = tasks_of(tmp_path)
    assert schedule(tasks, tmp_path / "two", LocalExecutor(workers(tmp_path / "two"), 2)) == {}
    executor = RayExecutor(workers(tmp_path / "ray"), cluster.address)
    assert schedule(tasks, tmp_path / "ray", executor) == {}
    assert whole(tmp_path / "two") == reference
    assert whole(tmp_path / "ray") == reference


ONE_GRID = 'datasets: ["phantom2d:size=16,cases=14"]\nfolds: [0]\nprotocol: quick\nprotocol_set: {folds: 2}\n'


def logged_suite(tmp_path: Path, seeds: int, rest: str = ONE_GRID) -> list[str]:
    """Runs of a plug-in that logs the epochs it trains; returns the words that name the plug-in."""
    (tmp_path / "logged.py").write_text(LOGGED)
    # rank_every is a hyperparameter that this strategy has no other use for: it tells the runs apart.
    (tmp_path / "suite.yaml").write_text(
        f"strategies: [{{name: logged, set: {{f: 2, depth: 1}}, grid: {{rank_every: {list(range(1, seeds + 1))}}}}}]\n"
        + rest
    )
    return ["--plugin", str(tmp_path / "logged.py"), "--save-every", "0"]


def hurry(log: Path) -> None:
    """What is to be disturbed has been: the rest need not be slow."""
    Path(f"{log}.hurry").touch()


def trained(log: Path) -> Counter[tuple[str, str]]:
    """How often each epoch of each run was trained."""
    return Counter((line.split()[0], line.split()[1]) for line in log.read_text().splitlines())


def test_a_node_is_killed_and_its_runs_go_on_elsewhere(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from stampbench.benchmark.execution.executors.ray import RayExecutor
    from stampbench.strategies.registry import STRATEGIES, load_plugin

    log = tmp_path / "log"
    words = logged_suite(tmp_path, 3, SUITE[SUITE.index("datasets:") :])
    monkeypatch.setitem(STRATEGIES, "logged", STRATEGIES["standard"])  # so that it is gone after the test
    monkeypatch.delitem(STRATEGIES, "logged")
    load_plugin(Path(words[1]))
    tasks = expand_suite(load_suite(str(tmp_path / "suite.yaml")), lambda request: request.open(None))
    # The environment of tasks is that of the driver's job.
    monkeypatch.setenv("LOGGED", str(log))
    options = {"plugins": (Path(words[1]),), "environment": {"LOGGED": str(log)}}
    executor = RayExecutor(workers(tmp_path / "ray", save_every=0.0, **options), cluster.address)

    def kill() -> None:
        while not log.exists() or len({line.split()[2] for line in log.read_text().splitlines()}) < 2:
            time.sleep(0.05)
        time.sleep(0.5)  # both nodes are in the middle of a run
        cluster.remove_node(cluster.second, allow_graceful=False)
        hurry(log)

    killer = threading.Thread(target=kill)
    killer.start()
    assert schedule(tasks, tmp_path / "ray", executor) == {}
    killer.join()
    times = trained(log)
    assert len(times) == 24 * 12
    # The epoch that the node was in is trained again, and no other.
    assert sum(times.values()) <= 24 * 12 + 2
    hurry(tmp_path / "other")
    local = workers(tmp_path / "local", plugins=(Path(words[1]),), environment={"LOGGED": str(tmp_path / "other")})
    assert schedule(tasks, tmp_path / "local", LocalExecutor(local, 1)) == {}
    assert whole(tmp_path / "ray") == whole(tmp_path / "local")


def run_logged(tmp_path: Path, words: list[str], log: str, *more: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command(tmp_path, *words, *more),
        env=os.environ | {"LOGGED": str(tmp_path / log)},
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def wait_for(log: Path, lines: int) -> list[list[str]]:
    until = time.monotonic() + 90
    while time.monotonic() < until:
        found = log.read_text().splitlines() if log.exists() else []
        if len(found) >= lines:
            return [line.split() for line in found]
        time.sleep(0.02)
    raise AssertionError(f"{log} has no {lines} lines")


def test_two_commands_over_one_store_do_no_run_twice(tmp_path: Path) -> None:
    words = logged_suite(tmp_path, 5)
    both = [run_logged(tmp_path, words, "log") for _ in range(2)]
    outputs = [each.communicate(timeout=120)[0] for each in both]
    assert [each.returncode for each in both] == [0, 0], outputs
    times = trained(tmp_path / "log")
    assert len(times) == 5 * 12
    assert set(times.values()) == {1}
    # Both had a share of the work.
    assert all(output.count("test Dice") >= 1 for output in outputs)
    assert sum(output.count("test Dice") for output in outputs) == 5


def test_a_killed_worker_is_replaced_and_its_run_goes_on(tmp_path: Path) -> None:
    words = logged_suite(tmp_path, 2)
    process = run_logged(tmp_path, words, "log")
    os.kill(int(wait_for(tmp_path / "log", 5)[-1][2]), signal.SIGKILL)
    hurry(tmp_path / "log")
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0, output
    assert "its worker was killed; memory may have run out; retrying (2 of 3)" in output
    assert sum(trained(tmp_path / "log").values()) <= 2 * 12 + 1
    hurry(tmp_path / "other")
    undisturbed = run_logged(tmp_path, words, "other", "--runs", tmp_path / "undisturbed")
    assert undisturbed.wait(120) == 0
    assert whole(tmp_path / "runs") == whole(tmp_path / "undisturbed")


@pytest.mark.parametrize("times", [1, 2])
def test_ctrl_c_ends_it_in_seconds_and_the_same_command_goes_on(times: int, tmp_path: Path) -> None:
    words = logged_suite(tmp_path, 3)
    process = run_logged(tmp_path, words, "log", "--jobs", "2")
    wait_for(tmp_path / "log", 6)
    asked = time.monotonic()
    for _ in range(times):
        process.send_signal(signal.SIGINT)
        time.sleep(0.3)
    output, _ = process.communicate(timeout=60)
    assert time.monotonic() - asked < 10
    assert process.returncode == 130
    assert "interrupted; run the same command again to resume" in output
    before = sum(trained(tmp_path / "log").values())
    assert before < 3 * 12
    hurry(tmp_path / "log")
    again = run_logged(tmp_path, words, "log", "--jobs", "2")
    output, _ = again.communicate(timeout=120)
    assert again.returncode == 0, output
    assert sum(trained(tmp_path / "log").values()) <= 3 * 12 + 2
    if times == 2:
        return
    hurry(tmp_path / "other")
    undisturbed = run_logged(tmp_path, words, "other", "--runs", tmp_path / "undisturbed")
    assert undisturbed.wait(120) == 0
    assert whole(tmp_path / "runs") == whole(tmp_path / "undisturbed")


def test_a_schedule_that_dies_takes_its_workers_with_it(tmp_path: Path) -> None:
    words = logged_suite(tmp_path, 1)
    process = run_logged(tmp_path, words, "log")
    worker = int(wait_for(tmp_path / "log", 3)[-1][2])
    process.kill()
    process.wait()
    until = time.monotonic() + 20
    while time.monotonic() < until and Path(f"/proc/{worker}").exists():
        time.sleep(0.1)
    assert not Path(f"/proc/{worker}").exists()
    hurry(tmp_path / "log")
    again = run_logged(tmp_path, words, "log")
    assert again.wait(120) == 0
    assert sum(trained(tmp_path / "log").values()) <= 12 + 1


def test_a_run_that_keeps_dying_fails_after_three_times(tmp_path: Path, stampbench: Callable[..., Any]) -> None:
    (tmp_path / "deadly.py").write_text(
        "import os, signal\nfrom stampbench.strategies.standard import Standard\n"
        "class Deadly(Standard):\n    '''Kills its process.'''\n    def fit(self, trainer):\n"
        "        if hasattr(trainer, 'replaying'):\n            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        trainer.train(1)\n        trainer.checkpoint()\n"
    )
    (tmp_path / "suite.yaml").write_text(
        "strategies: [{name: deadly, set: {f: 2, depth: 1}}, {name: flat, set: {f: 2, depth: 1}}]\n"
        'datasets: ["phantom2d:size=16,cases=14"]\nfolds: [0]\nprotocol: quick\n'
        "protocol_set: {folds: 2, max_epochs: 2}\n"
    )
    code, _, err = stampbench(
        "suite", "run", tmp_path / "suite.yaml", "--plugin", tmp_path / "deadly.py", "--executor", "local"
    )
    assert code == 1
    assert "failed: its worker was killed; memory may have run out, 3 times" in err
    assert (tmp_path / "runs" / "phantom2d" / "flat").is_dir()


def test_submitits_executor_makes_the_same_records(tmp_path: Path) -> None:
    pytest.importorskip("submitit", reason="the extra slurm is not installed")
    from stampbench.benchmark.execution.executors.slurm import SlurmExecutor

    tasks = tasks_of(tmp_path, SUITE.replace("n_train: [6, 8]", "n_train: [6]").replace("folds: [0, 1]", "folds: [0]"))
    executor = SlurmExecutor(workers(tmp_path / "slurm"), tmp_path / "logs", cluster="local", minutes=5)
    assert schedule(tasks, tmp_path / "slurm", executor) == {}
    assert schedule(tasks, tmp_path / "one", SerialExecutor(workers(tmp_path / "one"), len(tasks), quiet=True)) == {}
    assert whole(tmp_path / "slurm") == whole(tmp_path / "one")
    assert len(whole(tmp_path / "slurm")) == 6


def test_a_cluster_that_is_not_there_is_told(tmp_path: Path, stampbench: Callable[..., Any]) -> None:
    tasks_of(tmp_path)
    run = ("suite", "run", tmp_path / "suite.yaml", "--executor")
    code, _, err = stampbench(*run, "ray", "--ray-address", "127.0.0.1:1")
    assert (code, "error: Ray address '127.0.0.1:1': no cluster can be reached" in err) == (2, True)
    if subprocess.run(["which", "sbatch"], capture_output=True).returncode:
        code, _, err = stampbench(*run, "slurm")
        assert (code, "error: executor 'slurm':" in err) == (2, True)


def test_a_preempted_job_saves_and_is_submitted_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With submitit's own executor, which requeues, and the signal that Slurm would send."""
    pytest.importorskip("submitit", reason="the extra slurm is not installed")
    from submitit.local.local import LocalJobEnvironment

    from stampbench.benchmark.execution.executors.slurm import SlurmExecutor
    from stampbench.strategies.registry import STRATEGIES, load_plugin

    words, log = logged_suite(tmp_path, 1), tmp_path / "log"
    monkeypatch.setitem(STRATEGIES, "logged", STRATEGIES["standard"])
    monkeypatch.delitem(STRATEGIES, "logged")
    load_plugin(Path(words[1]))
    tasks = expand_suite(load_suite(str(tmp_path / "suite.yaml")), lambda request: request.open(None))
    # Saved by the signal alone: the next write by the clock would be in an hour.
    options = {"plugins": (Path(words[1]),), "environment": {"LOGGED": str(log)}}
    executor = SlurmExecutor(
        workers(tmp_path / "runs", save_every=3600.0, **options), tmp_path / "logs", cluster="local", minutes=5
    )

    def preempt() -> None:
        os.kill(int(wait_for(log, 4)[-1][2]), LocalJobEnvironment._usr_sig())
        hurry(log)

    interrupter = threading.Thread(target=preempt)
    interrupter.start()
    assert schedule(tasks, tmp_path / "runs", executor) == {}
    interrupter.join()
    times = trained(log)
    assert len(times) == 12
    assert sum(times.values()) <= 12 + 1
    assert len({line.split()[2] for line in log.read_text().splitlines()}) == 2  # two processes


def slurm_here() -> bool:
    try:
        return subprocess.run(["sinfo", "--noheader"], capture_output=True, timeout=10).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


@pytest.mark.slow
@pytest.mark.skipif(not slurm_here(), reason="there is no Slurm here")
def test_on_slurm_a_requeued_job_goes_on(tmp_path: Path) -> None:
    """Slurm waits up to two minutes before it starts a requeued job."""
    words = logged_suite(tmp_path, 2)
    process = run_logged(
        tmp_path, [*words, "--executor", "slurm", "--memory-gb", "2", "--minutes", "10"], "log"
    )  # fmt: skip
    wait_for(tmp_path / "log", 4)
    job = subprocess.run(["squeue", "--noheader", "--format=%A"], capture_output=True, text=True, check=True)
    subprocess.run(["scontrol", "requeue", job.stdout.split()[0]], check=True)
    output, _ = process.communicate(timeout=400)
    assert process.returncode == 0, output
    times = trained(tmp_path / "log")
    assert len(times) == 2 * 12
    assert sum(times.values()) <= 2 * 12 + 2
    hurry(tmp_path / "other")
    undisturbed = run_logged(tmp_path, words, "other", "--runs", tmp_path / "undisturbed")
    assert undisturbed.wait(120) == 0
    assert whole(tmp_path / "runs") == whole(tmp_path / "undisturbed")
