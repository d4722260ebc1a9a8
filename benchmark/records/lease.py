"""Who is at work on a run: a store on a shared file system, without locks and without a common clock.

Claims of a run are numbered files in one folder, and the highest number holds it. A lease is made by creating the next
number exclusively, which only one of several can do; it is never deleted before the run is finished. Its owner
changes it every few seconds. Who sees a lease unchanged for a minute by its own clock may make the next one, so no two
clocks are ever compared; a process that is gone from this machine is seen at once.
"""

from __future__ import annotations

import json
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

from stampbench.benchmark.errors import RunLeasedError, UserError

BEAT_SECONDS = 5.0
STALE_SECONDS = 60.0
_LOOK_SECONDS = 0.1
_RELEASED = "released"


class LeaseState(NamedTuple):
    """The newest lease of a run: its number, what its file says, and when that was last seen to change."""

    number: int
    content: str
    seen: float

    @property
    def released(self) -> bool:
        return _RELEASED in self.content

    @property
    def owner(self) -> str:
        known = _parsed(self.content)
        return f"process {known.get('pid', '?')} on {known.get('host', 'an unknown machine')}"


class Lease:
    """Holds a run for this process while it is a context; beats in a thread of its own.

    Entering looks at a lease that is there until it changes, which takes a beat, or has stood still for a minute.

    Raises:
        RunLeasedError: on entering, another process is at work on the run.
        UserError: on entering, the store cannot be written.
    """

    def __init__(self, folder: Path, watch: LeaseWatch | None = None) -> None:
        self._folder, self._watch = folder, watch or LeaseWatch()
        self._token, self._beat = secrets.token_hex(8), 0
        self._file: Path | None = None
        self._stop = threading.Event()
        self._lost = False

    def __enter__(self) -> Self:
        try:
            self._make()
        except OSError as error:
            raise UserError(f"cannot write runs to {self._folder.parent}: {error.strerror or error}") from error
        self._thread = threading.Thread(target=self._keep, daemon=True)
        self._thread.start()
        return self

    def _make(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        holder = self._watch.holder(self._folder)
        while holder is not None and not self._watch.free(self._folder):
            time.sleep(_LOOK_SECONDS)
            now = self._watch.holder(self._folder)
            if now is not None and (now.number, now.content) != (holder.number, holder.content):
                raise RunLeasedError(f"{now.owner} is at work on it")
        self._file = self._folder / f"{1 if holder is None else holder.number + 1:06}.json"
        try:
            file = self._file.open("x")
        except FileExistsError:
            raise RunLeasedError("another process has just begun it") from None
        except FileNotFoundError:
            raise RunLeasedError("another process has just finished it") from None
        try:
            with file:
                file.write(self._content())
        except OSError:
            self._file.unlink(missing_ok=True)
            raise

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()
        if not self._lost:
            with suppress(OSError):  # a full disk; this process is soon gone, and seen to be
                self._write(_RELEASED)

    def check(self) -> None:
        """To be called before anything is written.

        Raises:
            RunLeasedError: another process took the run over, because this one did not beat for a minute.
        """
        assert self._file is not None
        if self._lost or _newest(self._folder) != self._file:
            self._lost = True
            raise RunLeasedError("another process took it over")

    def remove(self) -> None:
        """The run is finished, which says more than any lease."""
        self._stop.set()
        self._thread.join()
        self._lost = True  # nothing to release
        shutil.rmtree(self._folder, ignore_errors=True)

    def _keep(self) -> None:
        while not self._stop.wait(BEAT_SECONDS):
            self._beat += 1
            try:
                self.check()
                self._write("held")
            except RunLeasedError:
                return
            except OSError:  # a full disk or an absent server; the next beat may pass
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
        unfinished = self._file.with_name(f".{self._file.name}.{self._token}")
        try:
            unfinished.write_text(self._content(state))
            unfinished.replace(self._file)
        except FileNotFoundError:
            self._lost = True  # the folder is gone: the run was finished elsewhere


class LeaseWatch:
    """Remembers since when leases have not changed, by this process's clock."""

    def __init__(self) -> None:
        self._seen: dict[Path, LeaseState] = {}

    def holder(self, folder: Path) -> LeaseState | None:
        """The newest lease of a run, or None."""
        newest = _newest(folder)
        if newest is None:
            return None
        try:
            content = newest.read_text()
        except OSError:
            content = ""
        before = self._seen.get(folder)
        number = int(newest.stem)
        if before is None or (before.number, before.content) != (number, content):
            self._seen[folder] = LeaseState(number, content, time.monotonic())
        return self._seen[folder]

    def free(self, folder: Path) -> bool:
        """Whether nobody is at work on a run: no lease, a released one, one of a dead process, or one that is stale."""
        holder = self.holder(folder)
        if holder is None or holder.released or _is_gone(holder.content):
            return True
        return time.monotonic() - holder.seen > STALE_SECONDS


def _newest(folder: Path) -> Path | None:
    try:
        return max((path for path in folder.iterdir() if path.stem.isdecimal()), default=None)
    except OSError:
        return None


def _parsed(content: str) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _is_gone(content: str) -> bool:
    """Whether the owner was a process of this machine that is no more."""
    known = _parsed(content)
    # Machines may share a name, so after a restart of this one its leases have to become stale.
    if (known.get("host"), known.get("boot")) != (socket.gethostname(), _boot()):
        return False
    try:
        return bool(psutil.Process(known["pid"]).create_time() != known["started"])
    except psutil.NoSuchProcess:
        return True
    except (psutil.Error, KeyError):
        return False


def _boot() -> str:
    """Which start of this machine, or of this container of it."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot} {Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return str(psutil.boot_time())
