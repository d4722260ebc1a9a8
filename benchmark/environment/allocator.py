"""The C library's heap, kept instead of handed back at every training step."""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD = -1
_M_MMAP_MAX = -4
_kept = False


def keep_heap() -> bool:
    """Tell glibc to reuse freed blocks; a step of a small 3D network otherwise page-faults all its activations.

    Holds for the whole process, whose memory then only shrinks by `release_heap`. Returns whether it was done: only
    on Linux with glibc.
    """
    global _kept
    glibc = _glibc()
    if glibc is None:
        return False
    _kept = bool(glibc.mallopt(_M_MMAP_MAX, 0) and glibc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
    return _kept


def release_heap() -> None:
    """Hand back what a kept heap does not use, before work of another kind."""
    glibc = _glibc()
    if _kept and glibc is not None:
        glibc.malloc_trim(0)


def heap_kept() -> bool:
    """Whether `keep_heap` was called with success."""
    return _kept


def _glibc() -> ctypes.CDLL | None:
    if not sys.platform.startswith("linux"):
        return None
    try:
        library = ctypes.CDLL("libc.so.6")
    except OSError:
        return None
    return library if hasattr(library, "mallopt") and hasattr(library, "malloc_trim") else None
