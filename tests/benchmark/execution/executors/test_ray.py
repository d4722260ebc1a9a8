"""Execution on a Ray cluster."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from stampbench.benchmark.execution.executors.serial import SerialExecutor


@pytest.fixture(scope="module")
def nodes() -> Iterator[Any]:
    """Ray cluster of two nodes with one CPU each, on this machine; the last test that uses it removes one."""
    pytest.importorskip("ray", reason="the extra ray is not installed")
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    cluster.second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    yield cluster
    cluster.shutdown()


@pytest.fixture
def cluster(nodes: Any) -> Iterator[Any]:
    """The cluster, to which the test connects as a job of its own."""
    import ray

    yield nodes
    ray.shutdown()


def test_records_are_the_same_in_this_process_and_on_a_cluster(
    cluster: Any,
    suite_text: str,
    write_tasks: Callable[..., Any],
    worker_settings: Callable[..., Any],
    schedule: Callable[..., dict[str, str]],
    read_store: Callable[[Path], Any],
    tmp_path: Path,
) -> None:
    from stampbench.benchmark.execution.executors.ray import RayExecutor

    tasks = write_tasks(suite_text.replace("folds: [0, 1]", "folds: [0]"))
    serial = SerialExecutor(worker_settings(tmp_path / "one"), len(tasks), quiet=True)
    assert schedule(tasks, tmp_path / "one", serial) == {}
    executor = RayExecutor(worker_settings(tmp_path / "ray"), cluster.address)
    assert schedule(tasks, tmp_path / "ray", executor) == {}
    reference = read_store(tmp_path / "one")
    assert len(reference) == 6
    assert read_store(tmp_path / "ray") == reference


def test_runs_of_a_killed_node_are_resumed_on_another_node(
    cluster: Any,
    logged_suite: Any,
    suite_text: str,
    worker_settings: Callable[..., Any],
    schedule: Callable[..., dict[str, str]],
    read_store: Callable[[Path], Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from stampbench.benchmark.execution.executors.ray import RayExecutor

    logged_suite.write(1, suite_text[suite_text.index("datasets:") :])
    tasks = logged_suite.load()
    monkeypatch.setenv("LOGGED", str(logged_suite.log))  # Ray tasks have the environment of the driver's job
    settings = worker_settings(tmp_path / "ray", save_every=0.0, **logged_suite.worker_options())
    executor = RayExecutor(settings, cluster.address)

    def kill_node() -> None:
        while len(logged_suite.processes()) < 2:
            time.sleep(0.05)
        time.sleep(0.5)  # both nodes are now executing a run
        cluster.remove_node(cluster.second, allow_graceful=False)
        logged_suite.make_fast()

    killer = threading.Thread(target=kill_node)
    killer.start()
    assert schedule(tasks, tmp_path / "ray", executor) == {}
    killer.join()
    epochs = logged_suite.epochs()
    assert len(epochs) == 4 * 12
    # Only the epoch during which the node was killed is trained again.
    assert sum(epochs.values()) <= 4 * 12 + 2
    assert read_store(tmp_path / "ray") == read_store(logged_suite.run_undisturbed())


def test_absent_cluster_is_refused(
    suite_text: str, write_tasks: Callable[..., Any], tmp_path: Path, stampbench: Callable[..., tuple[int, str, str]]
) -> None:
    write_tasks(suite_text)
    code, _, err = stampbench(
        "suite", "run", tmp_path / "suite.yaml", "--executor", "ray", "--ray-address", "127.0.0.1:1"
    )
    assert (code, "error: Ray address '127.0.0.1:1': no cluster can be reached" in err) == (2, True)
