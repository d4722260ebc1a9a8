"""Run leases: one process holds a run, also when processes die, stop their heartbeat, or have other clocks."""

from __future__ import annotations

import json
import multiprocessing
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

from stampbench.benchmark.errors import RunLeasedError, UserError
from stampbench.benchmark.records import lease as lease_module
from stampbench.benchmark.records.lease import Lease, LeaseWatch


@pytest.fixture(autouse=True)
def _short_heartbeats(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lease_module, "BEAT_SECONDS", 0.05)
    monkeypatch.setattr(lease_module, "STALE_SECONDS", 0.5)


def lease_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def write_foreign_lease(folder: Path, number: int = 1, **changes: object) -> Path:
    """Write a lease of a process on another machine, without a heartbeat."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{number:06}.json"
    path.write_text(
        json.dumps({"host": "far", "boot": "b", "pid": 1, "token": "t", "beat": 0, "state": "held"} | changes)
    )
    return path


def test_second_lease_is_refused_until_the_first_is_released(tmp_path: Path) -> None:
    folder = tmp_path / "leases"
    with Lease(folder):
        with pytest.raises(RunLeasedError, match=r"leased by pid \d+ on "), Lease(folder):
            pass
        assert not LeaseWatch().free(folder)
    assert LeaseWatch().free(folder)
    with Lease(folder):
        assert lease_files(folder) == ["000001.json", "000002.json"]


def test_lease_with_a_heartbeat_is_never_stale(tmp_path: Path) -> None:
    watch = LeaseWatch()
    with Lease(tmp_path / "leases"):
        until = time.monotonic() + 1.2
        while time.monotonic() < until:
            assert not watch.free(tmp_path / "leases")
            time.sleep(0.05)


def test_lease_without_a_heartbeat_is_stale_after_a_time_on_the_watching_clock(tmp_path: Path) -> None:
    write_foreign_lease(tmp_path / "leases")
    watch = LeaseWatch()
    assert not watch.free(tmp_path / "leases")
    time.sleep(0.6)
    assert watch.free(tmp_path / "leases")
    with Lease(tmp_path / "leases", watch):
        assert lease_files(tmp_path / "leases") == ["000001.json", "000002.json"]
    # A process without a watch observes the lease for the same time.
    write_foreign_lease(tmp_path / "leases", 3)
    started = time.monotonic()
    with Lease(tmp_path / "leases"):
        assert time.monotonic() - started > 0.5


@pytest.mark.parametrize("jump", [-10_000.0, 10_000.0])
def test_jumps_of_the_system_clock_do_not_make_a_lease_stale(
    jump: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, now = LeaseWatch(), time.time
    with Lease(tmp_path / "leases"):
        assert not watch.free(tmp_path / "leases")
        monkeypatch.setattr(time, "time", lambda: now() + jump)
        for path in (tmp_path / "leases").iterdir():
            assert path.exists()
        assert not watch.free(tmp_path / "leases")


def test_lease_of_a_dead_process_on_this_machine_is_free_at_once(tmp_path: Path) -> None:
    code = (
        "import sys, os, signal; from pathlib import Path; from stampbench.benchmark.records.lease import Lease\n"
        "with Lease(Path(sys.argv[1])): os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "leases")])
    assert done.returncode == -9
    assert lease_files(tmp_path / "leases") == ["000001.json"]
    assert LeaseWatch().free(tmp_path / "leases")


def test_check_fails_after_another_process_took_over(tmp_path: Path) -> None:
    with Lease(tmp_path / "leases") as lease:
        lease.check()
        newer = write_foreign_lease(tmp_path / "leases", 2)
        with pytest.raises(RunLeasedError, match="taken over by another process"):
            lease.check()
    assert json.loads(newer.read_text())["state"] == "held"  # the release does not change the newer lease


def test_truncated_lease_file_holds_until_it_is_stale(tmp_path: Path) -> None:
    (tmp_path / "leases").mkdir()
    (tmp_path / "leases" / "000001.json").write_text("")
    assert not LeaseWatch().free(tmp_path / "leases")
    started = time.monotonic()
    with Lease(tmp_path / "leases"):
        assert time.monotonic() - started > 0.5


def test_check_fails_after_another_process_finished_the_run(tmp_path: Path) -> None:
    with Lease(tmp_path / "leases") as lease:
        shutil.rmtree(tmp_path / "leases")  # the process that finished the run removed the folder
        with pytest.raises(RunLeasedError, match="taken over by another process"):
            lease.check()


def test_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot write runs to"), Lease(tmp_path / "file" / "leases"):
        pass


def _compete(folder: Path, barrier: object, winners: object) -> None:
    """Try to get the lease at the same moment as other processes; count the processes that got it."""
    barrier.wait()  # type: ignore[attr-defined]
    try:
        with Lease(folder):
            with winners.get_lock():  # type: ignore[attr-defined]
                winners.value += 1  # type: ignore[attr-defined]
            barrier.wait()  # type: ignore[attr-defined]
    except RunLeasedError:
        barrier.wait()  # type: ignore[attr-defined]


def test_one_of_several_simultaneous_processes_gets_the_lease(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    for number in range(10):
        barrier, winners = context.Barrier(6), context.Value("i", 0)
        processes = [
            context.Process(target=_compete, args=(tmp_path / str(number), barrier, winners)) for _ in range(6)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join(30)
        assert winners.value == 1
