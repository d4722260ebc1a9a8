"""Who is at work on a run: one of several, also when processes die, stand still, or have clocks of their own."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from stampbench.benchmark.config.dataset_request import DatasetRequest
from stampbench.benchmark.environment.compute_settings import ComputeSettings
from stampbench.benchmark.errors import RunLeasedError, UserError
from stampbench.benchmark.execution import scheduler
from stampbench.benchmark.execution.executors.base import Outcome, attempt
from stampbench.benchmark.execution.job import Job, Task, WorkerSettings
from stampbench.benchmark.execution.run import Run
from stampbench.benchmark.records import lease as lease_module
from stampbench.benchmark.records.lease import Lease, LeaseWatch
from stampbench.benchmark.records.run_store import RunStore


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(lease_module, "STALE_SECONDS", 0.5)


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def elsewhere(folder: Path, number: int = 1, **changes: object) -> Path:
    """A lease of a process on another machine, which does not beat."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{number:06}.json"
    path.write_text(
        json.dumps({"host": "far", "boot": "b", "pid": 1, "token": "t", "beat": 0, "state": "held"} | changes)
    )
    return path


def test_a_second_claim_is_refused_and_a_released_one_is_free(tmp_path: Path) -> None:
    folder = tmp_path / "leases"
    with Lease(folder):
        with pytest.raises(RunLeasedError, match=r"leased by pid \d+ on "), Lease(folder):
            pass
        assert not LeaseWatch().free(folder)
    assert LeaseWatch().free(folder)
    with Lease(folder):
        assert files(folder) == ["000001.json", "000002.json"]


def test_a_claim_that_beats_is_never_stale(tmp_path: Path) -> None:
    watch = LeaseWatch()
    with Lease(tmp_path / "leases"):
        until = time.monotonic() + 1.2
        while time.monotonic() < until:
            assert not watch.free(tmp_path / "leases")
            time.sleep(0.05)


def test_a_claim_that_stands_still_is_free_after_a_while_by_the_watchers_clock(tmp_path: Path) -> None:
    elsewhere(tmp_path / "leases")
    watch = LeaseWatch()
    assert not watch.free(tmp_path / "leases")
    time.sleep(0.6)
    assert watch.free(tmp_path / "leases")
    with Lease(tmp_path / "leases", watch):
        assert files(tmp_path / "leases") == ["000001.json", "000002.json"]
    # Who has not watched looks for as long.
    elsewhere(tmp_path / "leases", 3)
    begun = time.monotonic()
    with Lease(tmp_path / "leases"):
        assert time.monotonic() - begun > 0.5


@pytest.mark.parametrize("jump", [-10_000.0, 10_000.0])
def test_the_clock_jumping_changes_nothing(jump: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    watch, now = LeaseWatch(), time.time
    with Lease(tmp_path / "leases"):
        assert not watch.free(tmp_path / "leases")
        monkeypatch.setattr(time, "time", lambda: now() + jump)
        for path in (tmp_path / "leases").iterdir():
            assert path.exists()
        assert not watch.free(tmp_path / "leases")


def test_a_dead_process_of_this_machine_is_seen_at_once(tmp_path: Path) -> None:
    code = (
        "import sys, os, signal; from pathlib import Path; from stampbench.benchmark.records.lease import Lease\n"
        "with Lease(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "leases")])
    assert done.returncode == -9
    assert files(tmp_path / "leases") == ["000001.json"]
    assert LeaseWatch().free(tmp_path / "leases")


def test_who_was_taken_over_may_no_longer_write(tmp_path: Path) -> None:
    with Lease(tmp_path / "leases") as lease:
        lease.check()
        newer = elsewhere(tmp_path / "leases", 2)
        with pytest.raises(RunLeasedError, match="taken over by another process"):
            lease.check()
    assert json.loads(newer.read_text())["state"] == "held"  # its release did not touch the other's


def test_a_half_written_claim_holds_until_it_is_stale(tmp_path: Path) -> None:
    (tmp_path / "leases").mkdir()
    (tmp_path / "leases" / "000001.json").write_text("")
    assert not LeaseWatch().free(tmp_path / "leases")
    begun = time.monotonic()
    with Lease(tmp_path / "leases"):
        assert time.monotonic() - begun > 0.5


def test_who_slept_while_another_finished_may_not_write(tmp_path: Path) -> None:
    with Lease(tmp_path / "leases") as lease:
        shutil.rmtree(tmp_path / "leases")  # the other one's dissolve
        with pytest.raises(RunLeasedError, match="taken over by another process"):
            lease.check()


def test_a_foreign_claim_does_not_hold_a_schedule_for_ever(
    make_run: Callable[..., Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "_LATER_SECONDS", 0.1)
    store, run = RunStore(tmp_path / "runs"), make_run("flat")
    store.lease_folder(run.spec).parent.mkdir(parents=True)
    elsewhere(store.lease_folder(run.spec))

    class Here:
        """Executes at once, in this process."""

        free = 1
        poll_seconds = 0.0

        def __init__(self) -> None:
            self.outcomes: list[Outcome] = []

        def start(self, tasks: Sequence[Task]) -> None:
            compute = ComputeSettings(threads=1, allocator="system")
            settings = WorkerSettings(runs=store.root, compute=compute)
            self.outcomes += [attempt(task.job, settings) for task in tasks]

        def ended(self) -> list[Outcome]:
            done, self.outcomes = self.outcomes, []
            return done

        def stop(self) -> None: ...
        def kill(self) -> None: ...

    settings = {"folds": 2, "batch_size": 2, "max_epochs": 3}
    job = Job.of(run, DatasetRequest(name="phantom2d:size=16,cases=10"), settings)
    assert scheduler.Scheduler([Task(run, job)], store, Here(), scheduler.Reporter()).run() == {}
    assert store.status(run.spec) == "finished"
    assert not store.lease_folder(run.spec).exists()


def test_a_store_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write runs to"), Lease(tmp_path / "file" / "leases"):
        pass


def _race(folder: Path, barrier: object, won: object) -> None:
    barrier.wait()  # type: ignore[attr-defined]
    try:
        with Lease(folder):
            with won.get_lock():  # type: ignore[attr-defined]
                won.value += 1  # type: ignore[attr-defined]
            barrier.wait()  # type: ignore[attr-defined]
    except RunLeasedError:
        barrier.wait()  # type: ignore[attr-defined]


def test_of_many_at_once_one_gets_it(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for number in range(10):
        barrier, won = context.Barrier(6), context.Value("i", 0)
        racers = [context.Process(target=_race, args=(tmp_path / str(number), barrier, won)) for _ in range(6)]
        for each in racers:
            each.start()
        for each in racers:
            each.join(30)
        assert won.value == 1
