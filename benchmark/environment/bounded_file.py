"""Content of files that other people may have written: regular files only, up to a limit of bytes."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path


def read_bounded(path: Path, most: int, *, follow: bool = True) -> bytes:
    """Return the content of a regular file; devices, pipes and folders are refused without waiting for them.

    Args:
        path: the file.
        most: largest accepted number of bytes.
        follow: whether the file may be a symbolic link.

    Raises:
        OSError: when it cannot be read, is no regular file, or is larger.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | (0 if follow else getattr(os, "O_NOFOLLOW", 0))
    try:
        descriptor = os.open(path, flags)
    except ValueError:  # a name with a null character
        raise OSError(errno.EINVAL, "not a file name", str(path)) from None
    except OSError as error:
        if error.errno == errno.ELOOP and not follow:
            raise OSError(errno.ELOOP, "a symbolic link, not a regular file", str(path)) from None
        raise
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            content = file.read(min(status.st_size, most) + 1)  # memory for so many bytes is allocated at once
    finally:
        os.close(descriptor)
    if len(content) > most:
        raise OSError(errno.EFBIG, f"larger than {most:,} bytes", str(path))
    return content
