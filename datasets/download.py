"""Archives fetched, verified and unpacked; interrupted, the next call goes on."""

from __future__ import annotations

import errno
import hashlib
import http.client
import secrets
import shutil
import tarfile
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from urllib.error import HTTPError, URLError
from urllib.request import Request, urlopen

from filelock import FileLock, Timeout

from stampbench.datasets.definition import Archive
from stampbench.datasets.errors import DatasetError

_CHUNK = 2**20
_TRIES = 4
_TIMEOUT = 30.0
_PAUSE = 1.0
_PASSING = (408, 416, 429, 500, 502, 503, 504)
"""Answers after which the next try may succeed."""

Report = Callable[[str, int, int | None], None]
"""Hears of what is done (`downloading`, `unpacking`), how many bytes of it, and of how many, where that is known."""


def fetch(archive: Archive, data_root: Path, report: Report = lambda what, done, of: None) -> Path:
    """Download and unpack an archive, unless its folder is there; returns the folder.

    What was downloaded is kept beside the folder as `….part` until it is complete, and goes on from there.

    Raises:
        DatasetError: no connection, an interruption, a wrong checksum, a full disk, or an archive with entries that
            would leave the folder, with links or with devices.
    """
    folder = data_root / archive.folder
    file = folder.parent / archive.url.rsplit("/", 1)[1]
    lock = FileLock(file.with_name(f".{file.name}.lock"))
    with _told(f"cannot write {folder}"):
        folder.parent.mkdir(parents=True, exist_ok=True)
        try:
            with lock.acquire(blocking=False):
                if not folder.exists():
                    if not file.exists():
                        _download(archive.url, file.with_name(f"{file.name}.part"), file, report)
                    _verify(file, archive.md5, report)
                    _unpack(file, folder, report)
                    file.unlink()
        except Timeout:
            raise DatasetError(f"another process is fetching {folder}") from None
    return folder


def _download(url: str, part: Path, file: Path, report: Report) -> None:
    """Into `part`, which becomes `file` when it is complete; a connection that breaks is taken up again."""
    tries = _TRIES
    while True:
        before = _size(part)
        try:
            _read(url, part, report)
            break
        except (URLError, OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
                raise
            tries = _TRIES if _size(part) > before else tries - 1
            if tries == 0 or (isinstance(error, HTTPError) and error.code not in _PASSING):
                kept = f"; {_size(part):,} bytes are kept, the same command goes on" if _size(part) else ""
                raise DatasetError(f"cannot download {url} ({_reason(error)}){kept}") from error
            time.sleep(_PAUSE)
    part.replace(file)
    part.with_suffix(".etag").unlink(missing_ok=True)


def _read(url: str, part: Path, report: Report) -> None:
    """The rest of a file, or all of it where the server cannot, or where it has changed."""
    done, tag = _size(part), part.with_suffix(".etag")
    request = Request(url)
    if done and tag.is_file():
        request.add_header("Range", f"bytes={done}-")
        request.add_header("If-Range", tag.read_text())
    try:
        response = urlopen(request, timeout=_TIMEOUT)
    except HTTPError as error:
        if error.code != 416:
            raise
        if error.headers.get("Content-Range", f"bytes */{done}") == f"bytes */{done}":
            return  # it was complete; where the server does not say, the checksum will
        part.unlink()  # longer than the file ever was
        raise
    with response:
        if response.status != 206:
            done = 0
        length = response.headers.get("Content-Length")
        total = None if length is None else done + int(length)
        if total is not None and shutil.disk_usage(part.parent).free < total - done:
            raise OSError(errno.ENOSPC, f"{total - done:,} bytes are to come, more than are free")
        if mark := response.headers.get("ETag") or response.headers.get("Last-Modified"):
            tag.write_text(mark)
        with part.open("ab" if done else "wb") as file:
            while chunk := response.read(_CHUNK):
                file.write(chunk)
                done += len(chunk)
                report("downloading", done, total)
    if total is not None and done < total:
        raise http.client.IncompleteRead(b"", total - done)


def _verify(file: Path, md5: str | None, report: Report) -> None:
    report("verifying", _size(file), None)
    if md5 is None:
        return
    with file.open("rb") as content:
        found = hashlib.file_digest(content, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()
    if found != md5:
        file.unlink()
        raise DatasetError(f"{file}: its MD5 is {found}, not {md5}; it is deleted, download it again")


def _unpack(file: Path, folder: Path, report: Report) -> None:
    """Into a folder beside, which is renamed when all of it is there."""
    unfinished = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    unfinished.mkdir()
    total = _size(file) if file.suffix == ".tar" else None  # of a compressed one only the packed size is known
    try:
        with tarfile.open(file) as archive:
            for member in archive:
                _check(file, member)
                _extract(archive, member, unfinished / member.name)
                report("unpacking", archive.offset, total)
        inside = [path for path in unfinished.iterdir() if not path.name.startswith(".")]  # macOS leaves such files
        whole = inside[0] if len(inside) == 1 and inside[0].is_dir() else unfinished
        whole.replace(folder)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        raise DatasetError(f"{file}: cannot be unpacked ({_reason(error)}); delete it and download again") from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _check(file: Path, member: tarfile.TarInfo) -> None:
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise DatasetError(f"{file}: its entry '{member.name}' would leave the folder; nothing is unpacked")
    if not (member.isfile() or member.isdir()):
        kind = "a link" if member.issym() or member.islnk() else "no file"
        raise DatasetError(f"{file}: its entry '{member.name}' is {kind}; nothing is unpacked")


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    """Content alone: no modes, no owners (Python before 3.11.4 has no filter that would see to it)."""
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    content = archive.extractfile(member)
    assert content is not None  # it is a file
    with content, path.open("wb") as file:
        shutil.copyfileobj(content, file, _CHUNK)


@contextmanager
def _told(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DatasetError(f"{what}: {error.strerror or error}") from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _reason(error: Exception) -> str:
    if isinstance(error, http.client.IncompleteRead):
        return f"the connection broke, {error.expected:,} bytes are missing"
    reason = getattr(error, "reason", error)
    return " ".join(str(getattr(reason, "strerror", None) or reason).split()) or type(error).__name__
