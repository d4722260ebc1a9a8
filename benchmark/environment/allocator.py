"""glibc's heap, kept for reuse instead of returned to the system at every training step."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_kept = False


def keep_heap() -> bool:
    """Make glibc reuse freed blocks; otherwise each training step of a small 3D network page-faults its activations.

    Applies to the whole process, whose memory then shrinks by `release_heap` only.

    Returns:
        Whether it succeeded: only on Linux with glibc.
    """
    global _kept
    glibc = _glibc()
    if glibc is None:
        return False
    _kept = bool(glibc.mallopt(_M_MMAP_MAX, 0) and glibc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
    return _kept


def can_keep_heap() -> bool:
    """Return whether `keep_heap` would succeed, without changing the process."""
    return _glibc() is not None


def release_heap() -> None:
    """Return unused memory of a kept heap to the system, before work of another kind."""
    glibc = _glibc()
    if _kept and glibc is not None:
        glibc.malloc_trim(0)


def heap_kept() -> bool:
    """Return whether `keep_heap` was called with success."""
    return _kept


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        library = ctypes.CDLL("libc.so.6")
    except OSError:
        return None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
