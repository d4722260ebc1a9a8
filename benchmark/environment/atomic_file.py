"""Files that are written completely or not at all."""

from __future__ import annotations

import os
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Write a text file under a temporary name and rename it.

    After a power failure the file has the old content or the new one.

    Raises:
        OSError: when it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
