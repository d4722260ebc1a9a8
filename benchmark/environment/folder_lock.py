"""A lock on a folder that several processes of one machine may rewrite."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from stampbench.benchmark.errors import UserError

LOCK = ".lock"
"""Name of the lock's file; it exists while the lock is held, and means nothing after its process was killed."""
_POLL_SECONDS = 0.05


@contextmanager
def folder_lock(folder: Path, seconds: float = 60.0) -> Iterator[None]:
    """Hold the lock of an existing folder; systems without file locks have none.

    Args:
        folder: the folder.
        seconds: longest time to wait for another process.

    Raises:
        UserError: when another process holds it for longer, or the folder cannot be written.
    """
    path, deadline = folder / LOCK, time.monotonic() + seconds
    try:
        while (descriptor := _acquired(path)) is None:
            if time.monotonic() > deadline:
                raise UserError(f"{folder}: another process is rewriting it; wait until it has ended")
            time.sleep(_POLL_SECONDS)
    except OSError as error:
        raise UserError(f"cannot write {folder}: {error.strerror or error}") from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(descriptor)


def _acquired(path: Path) -> int | None:
    """Return the open and locked file, or None while another process holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
    try:
        # The process that held it deletes the file, so a lock on a deleted file is worth nothing.
        if _locked(descriptor) and os.path.samestat(os.fstat(descriptor), path.stat()):
            return descriptor
    except FileNotFoundError:
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _locked(descriptor: int) -> bool:
    try:
        import fcntl
    except ImportError:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
