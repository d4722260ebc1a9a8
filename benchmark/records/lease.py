"""Run leases with heartbeats: which process executes a run, without file locks or a common clock.

The leases of a run are numbered files in one folder, and the highest number is valid. A lease is acquired by creating
the next number exclusively, which only one of several processes can do; it is not deleted before the run is finished.
Its process writes a heartbeat every few seconds. Another process that sees no heartbeat for a minute, by its own
clock, may acquire the next lease, so clocks are never compared. A dead process of the same machine is recognised at
once.
"""

from __future__ import annotations

import json
import re
import secrets
import shutil
import socket
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, NamedTuple, Self

import psutil

from stampbench.benchmark.environment.bounded_file import read_bounded
from stampbench.benchmark.environment.bounded_json import parse_json
from stampbench.benchmark.errors import RunLeasedError, UserError
from stampbench.datasets.atomic_file import write_text

BEAT_SECONDS = 5.0
STALE_SECONDS = 60.0
_POLL_SECONDS = 0.1
_MOST_BYTES = 1 << 16
_NUMBER = re.compile(r"[0-9]{6,18}\.json")
_RELEASED = "released"


class LeaseState(NamedTuple):
    """The valid lease of a run: its number, its content, and when the content was last seen to change."""

    number: int
    content: str
    seen: float

    @property
    def released(self) -> bool:
        """Whether its process has given it back."""
        return _RELEASED in self.content

    @property
    def owner(self) -> str:
        """The process and machine that hold it."""
        known = _parsed(self.content)
        return f"pid {known.get('pid', '?')} on {known.get('host', 'an unknown machine')}"


class Lease:
    """Context in which this process holds a run; a thread writes heartbeats.

    Entering watches an existing lease until it changes (one heartbeat) or is stale (a minute).

    Raises:
        RunLeasedError: on entering, when another process holds the run.
        UserError: on entering, when the store cannot be written.
    """

    def __init__(self, folder: Path, watch: LeaseWatch | None = None) -> None:
        self._folder, self._watch = folder, watch or LeaseWatch()
        self._token, self._beat = secrets.token_hex(8), 0
        self._file: Path | None = None
        self._stop = threading.Event()
        self._lost = False

    def __enter__(self) -> Self:
        try:
            self._acquire()
        except OSError as error:
            raise UserError(f"cannot write runs to {self._folder.parent}: {error.strerror or error}") from error
        self._thread = threading.Thread(target=self._send_heartbeats, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        if not self._lost:
            with suppress(OSError):  # on a full disk; other processes will see that this process has ended
                self._write(_RELEASED)

    def check(self) -> None:
        """Check that this process still holds the run; to be called before every write.

        Raises:
            RunLeasedError: when another process took the run over, because this one sent no heartbeat for a minute.
        """
        assert self._file is not None
        if self._lost or _newest(self._folder) != self._file:
            self._lost = True
            raise RunLeasedError("taken over by another process")

    def remove(self) -> None:
        """Delete the leases of a finished run, whose status makes them superfluous."""
        self._stop.set()
        self._thread.join()
        self._lost = True  # there is nothing left to release
        shutil.rmtree(self._folder, ignore_errors=True)

    def _acquire(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        valid = self._watch.state(self._folder)
        while valid is not None and not self._watch.free(self._folder):
            time.sleep(_POLL_SECONDS)
            now = self._watch.state(self._folder)
            if now is not None and (now.number, now.content) != (valid.number, valid.content):
                raise RunLeasedError(f"leased by {now.owner}")
        self._file = self._folder / f"{1 if valid is None else valid.number + 1:06}.json"
        try:
            file = self._file.open("x")
        except FileExistsError:
            raise RunLeasedError("leased by another process, which has just started it") from None
        except FileNotFoundError:
            raise RunLeasedError("another process has just finished it") from None
        try:
            with file:
                file.write(self._content())
        except OSError:
            self._file.unlink(missing_ok=True)
            raise

    def _send_heartbeats(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            self._beat += 1
            try:
                self.check()
                self._write("held")
            except RunLeasedError:
                return
            except OSError:  # a full disk or an unreachable server; the next heartbeat may succeed
                continue

    def _content(self, state: str = "held") -> str:
        own = psutil.Process()
        return json.dumps(
            {
                "host": socket.gethostname(),
                "boot": _boot(),
                "pid": own.pid,
                "started": own.create_time(),
                "token": self._token,
                "beat": self._beat,
                "state": state,
            }
        )

    def _write(self, state: str) -> None:
        assert self._file is not None
        try:
            write_text(self._file, self._content(state))
        except FileNotFoundError:
            self._lost = True  # the folder is gone: another process finished the run


class LeaseWatch:
    """Remembers when leases last changed, by this process's clock."""

    def __init__(self) -> None:
        self._seen: dict[Path, LeaseState] = {}

    def state(self, folder: Path) -> LeaseState | None:
        """Return the valid lease of a run, or None."""
        newest = _newest(folder)
        if newest is None:
            return None
        try:
            content = read_bounded(newest, _MOST_BYTES, follow=False).decode()
        except (OSError, UnicodeDecodeError):
            content = ""
        before = self._seen.get(folder)
        number = int(newest.stem)
        if before is None or (before.number, before.content) != (number, content):
            self._seen[folder] = LeaseState(number, content, time.monotonic())
        return self._seen[folder]

    def free(self, folder: Path) -> bool:
        """Return whether a run can be leased: no lease, or one that is released, stale, or of a dead process."""
        state = self.state(folder)
        if state is None or state.released or _is_dead(state.content):
            return True
        return time.monotonic() - state.seen > STALE_SECONDS


def _newest(folder: Path) -> Path | None:
    try:
        return max((path for path in folder.iterdir() if _NUMBER.fullmatch(path.name)), default=None)
    except OSError:
        return None


def _parsed(content: str) -> dict[str, Any]:
    try:
        found = parse_json(content.encode())
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_dead(content: str) -> bool:
    """Return whether the lease's process was one of this machine and has ended."""
    known = _parsed(content)
    # Machines may share a name, so leases from before a restart of this one have to become stale.
    if (known.get("host"), known.get("boot")) != (socket.gethostname(), _boot()):
        return False
    try:
        return bool(psutil.Process(known["pid"]).create_time() != known["started"])
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, KeyError, TypeError, ValueError, OverflowError):  # somebody else's file
        return False


def _boot() -> str:
    """Return an identifier of this start of the machine, or of this container."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return str(psutil.boot_time())
