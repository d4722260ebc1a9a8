"""Files that are written completely or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import mkdtemp


def write_text(path: Path, text: str) -> None:
    """Write a text file; see `write_bytes`.

    Raises:
        OSError: when it cannot be written.
    """
    write_bytes(path, [text.encode()])


def write_bytes(path: Path, chunks: Iterable[bytes | memoryview], *, keep: Path | None = None) -> None:
    """Write a file under a temporary name and rename it.

    After a power failure the file has the old content or the new one, and after an error the old one. The temporary
    file is created exclusively, and renaming replaces a symbolic link, so that no link is followed.

    Args:
        path: the file.
        chunks: its content.
        keep: name that a replaced file gets; None: it is deleted.

    Raises:
        OSError: when it cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            for chunk in chunks:
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if keep is not None and path.is_file():
            path.replace(keep)
        temporary.replace(path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Context that gives an empty folder, whose files are moved into `folder` at the end; after an error they are not.

    Files of `folder` with other names stay.

    Raises:
        OSError: when it cannot be written.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(mkdtemp(prefix=f".{folder.name[:100]}.", dir=folder.parent))
    try:
        yield temporary
        folder.mkdir(exist_ok=True)
        for path in sorted(temporary.rglob("*"), key=lambda path: (not path.is_dir(), -len(path.parts))):
            target = folder / path.relative_to(temporary)
            if path.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            else:
                path.replace(target)
        sync_folder(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to the disk, where the system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
