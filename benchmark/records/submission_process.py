"""The check of a submission in a child process, with limits of memory and time."""

from __future__ import annotations

import json
import multiprocessing
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

from stampbench.benchmark.config import plugins
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.records.submission import SubmissionReport, check_submission
from stampbench.benchmark.records.tables import Records

_MOST_MESSAGE = 1 << 26


class Limits(NamedTuple):
    """Limits of the check: gigabytes of memory, and seconds for each run."""

    gigabytes: float = 8.0
    seconds: float = 600.0


def check_in_child(
    root: Path,
    published: Records | None,
    data_root: Path | None,
    *,
    folder: str | None = None,
    rescore: int | None,
    limits: Limits,
    report: Callable[[int, int], None],
) -> SubmissionReport:
    """Check a submission as `check_submission` does, in a child process.

    Args:
        root: the submitted store.
        published: the tables that the runs are to join; None: none.
        data_root: folder that holds the named datasets' folders.
        folder: folder or definition file of the data of runs on anything but a named dataset.
        rescore: number of cases per run, drawn at random, to segment again; None: all.
        limits: limits of the child process; a submission that exceeds one is refused.
        report: called with the number of checked runs and the number of all.

    Raises:
        UserError: when the check itself is not possible.
    """
    # A forked process has the plug-ins of this one; elsewhere, forking is not safe.
    context: Any = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    receiver, sender = context.Pipe(duplex=False)
    options = {"root": root, "published": published, "data_root": data_root, "folder": folder, "rescore": rescore}
    process = context.Process(target=_check, args=(sender, limits, context.get_start_method() != "fork", options))
    process.start()
    sender.close()
    try:
        return _follow(receiver, process, root, limits, report)
    finally:
        process.kill()
        process.join()
        receiver.close()


def _follow(
    receiver: Connection, process: Any, root: Path, limits: Limits, report: Callable[[int, int], None]
) -> SubmissionReport:
    """Return the report of the child process, or one that says why there is none."""
    where, deadline = str(root), time.monotonic() + limits.seconds

    def refused(reason: str) -> SubmissionReport:
        return SubmissionReport(0, 0, [f"{where}: {reason}"])

    while True:
        if not receiver.poll(max(deadline - time.monotonic(), 0)):
            return refused(f"was not checked within {limits.seconds:g} seconds")
        try:
            kind, content = json.loads(receiver.recv_bytes(_MOST_MESSAGE))
        except (EOFError, OSError):
            process.join(5)
            return refused(f"the check ended with exit code {process.exitcode}; it may need more memory")
        if kind == "report":
            return SubmissionReport(**content)
        if kind == "error":
            raise UserError(content)
        if kind == "failed":
            return refused(f"cannot be checked ({content})")
        done, total, where = content
        deadline = time.monotonic() + limits.seconds
        report(done, total)


def _check(sender: Connection, limits: Limits, discover: bool, options: dict[str, Any]) -> None:
    """Check a submission and send what `_follow` reads; only plain data passes between the processes."""
    _limit_memory(limits)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process ends this one

    def send(kind: str, content: Any) -> None:
        sender.send_bytes(json.dumps([kind, content]).encode())

    try:
        if discover:
            plugins.discover()
        _renew_threads()
        found = check_submission(report=lambda *state: send("progress", state), **options)
        send("report", found._asdict())
    except UserError as error:
        send("error", str(error))
    except Exception as error:  # whatever a stranger's files cause
        send("failed", f"{type(error).__name__}: {error}")


def _renew_threads() -> None:
    """Give a forked process PyTorch's pool of threads, which it inherits without the threads.

    The first call of any thread makes the new pool, and fails if two threads make it at once ("Invalid thread pool").
    """
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(torch.get_num_threads())


def _limit_memory(limits: Limits) -> None:
    with suppress(ImportError, OSError, ValueError):
        import resource

        most = int(limits.gigabytes * 2**30)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        # Not the address space, of which libraries for GPUs reserve more than the machine has.
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
