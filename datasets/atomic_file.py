"""Files and folders that are written completely or not at all.

The module stands here because `datasets` and everything above it write files; it knows nothing of datasets.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


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
    temporary = _temporary(path)
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
def whole_file(path: Path) -> Iterator[Path]:
    """Context that gives a file name, for libraries that write files; the file is renamed to `path` at the end.

    The name is that of `path`, in a new folder beside it. After an error, `path` is as before.

    Raises:
        OSError: when it cannot be written.
    """
    folder = _temporary(path)
    folder.mkdir(parents=True)
    try:
        yield folder / path.name
        _sync(folder / path.name)
        (folder / path.name).replace(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sync_folder(path.parent)


@contextmanager
def new_folder(folder: Path) -> Iterator[Path]:
    """Context that gives an empty folder, which is renamed to `folder` at the end; after an error it is deleted.

    Raises:
        OSError: when it cannot be written, or `folder` exists at the end and is not empty.
    """
    temporary = _temporary(folder)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        sync_tree(temporary)
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sync_folder(folder.parent)


@contextmanager
def whole_folder(folder: Path) -> Iterator[Path]:
    """Context that gives an empty folder, whose files are moved into `folder` at the end; after an error they are not.

    Files of `folder` with other names stay. `folder` is created if it does not exist.

    Raises:
        OSError: when it cannot be written.
    """
    new = not folder.is_dir()
    folder.mkdir(parents=True, exist_ok=True)
    temporary = _temporary(folder / "new")
    temporary.mkdir()
    try:
        yield temporary
        sync_tree(temporary)
        for path in sorted(temporary.rglob("*"), key=lambda path: (not path.is_dir(), -len(path.parts))):
            target = folder / path.relative_to(temporary)
            if path.is_dir():
                target.mkdir(parents=True, exist_ok=True)
            else:
                path.replace(target)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        if new:
            with suppress(OSError):
                folder.rmdir()
        raise
    shutil.rmtree(temporary, ignore_errors=True)
    sync_folder(folder)


def sync_tree(folder: Path) -> None:
    """Write all files below a folder, and their names, to the disk.

    Raises:
        OSError: when the disk is full.
    """
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_folder(path)
        else:
            _sync(path)
    sync_folder(folder)


def sync_folder(folder: Path) -> None:
    """Write the names in a folder to the disk, where the system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _sync(path: Path) -> None:
    with path.open("rb+") as file:
        os.fsync(file.fileno())


def _temporary(path: Path) -> Path:
    """Return a hidden name beside a path that nobody can guess."""
    return path.with_name(f".{path.name[:40]}.{secrets.token_hex(4)}")
