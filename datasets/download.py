"""Download, verify and unpack dataset archives; an interrupted download is resumed."""

from __future__ import annotations

import errno
import hashlib
import http.client
import lzma
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

from stampbench.datasets.atomic_file import sync_folder, sync_tree, write_text
from stampbench.datasets.definition import Archive
from stampbench.datasets.errors import DatasetError

_CHUNK_BYTES = 2**20
_ATTEMPTS = 4
"""Attempts in a row without any progress, after which a download fails."""
_TIMEOUT_SECONDS = 30.0
_RETRY_DELAY_SECONDS = 1.0
_RETRY_STATUS = (408, 416, 429, 500, 502, 503, 504)
"""HTTP status codes after which a retry may succeed."""

Report = Callable[[str, int, int | None], None]
"""Called with the step (`downloading`, `verifying` or `unpacking`), the bytes done, and all bytes (None: unknown)."""


def fetch(archive: Archive, data_root: Path, report: Report = lambda step, done, total: None) -> Path:
    """Download, verify and unpack an archive, and return its folder; do nothing if the folder exists.

    An incomplete download is kept next to the folder as `….part`, and a later call resumes it.

    Args:
        archive: The archive.
        data_root: Folder that will contain the archive's folder; created if missing.
        report: Called after each chunk and each unpacked entry.

    Raises:
        DatasetError: when there is no connection, the download is interrupted, the checksum does not match, the disk is
            full, another process is downloading the same archive, or the archive contains links, devices or entries
            outside its folder.
    """
    folder = data_root / archive.folder
    file = folder.parent / archive.url.rsplit("/", 1)[1]
    lock = FileLock(file.with_name(f".{file.name}.lock"))
    with _os_error_as_dataset_error(f"cannot write {folder}"):
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
            raise DatasetError(f"{folder}: another process is downloading it; wait until that process ends") from None
    return folder


def _download(url: str, part: Path, file: Path, report: Report) -> None:
    """Download to `part` and rename it to `file` when it is complete; retry when the connection breaks."""
    attempts_left = _ATTEMPTS
    while True:
        before = _size(part)
        try:
            _transfer(url, part, report)
            break
        except (URLError, OSError, http.client.HTTPException) as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS):
                raise
            attempts_left = _ATTEMPTS if _size(part) > before else attempts_left - 1
            if attempts_left == 0 or (isinstance(error, HTTPError) and error.code not in _RETRY_STATUS):
                kept = f"; {_size(part):,} bytes are kept, run the same command again to resume" if _size(part) else ""
                raise DatasetError(f"cannot download {url} ({_reason(error)}){kept}") from error
            time.sleep(_RETRY_DELAY_SECONDS)
        except (ValueError, OverflowError) as error:  # an address that is none, or a redirection to one
            raise DatasetError(f"cannot download {url} ({_reason(error)})") from error
    part.replace(file)
    part.with_suffix(".etag").unlink(missing_ok=True)


def _transfer(url: str, part: Path, report: Report) -> None:
    """Download the rest of a file, or all of it if the server cannot resume or the file has changed since."""
    done, etag_file = _size(part), part.with_suffix(".etag")
    request = Request(url)
    if done and etag_file.is_file():
        request.add_header("Range", f"bytes={done}-")
        request.add_header("If-Range", etag_file.read_text())
    try:
        response = urlopen(request, timeout=_TIMEOUT_SECONDS)
    except HTTPError as error:
        if error.code != 416:
            raise
        if error.headers.get("Content-Range", f"bytes */{done}") == f"bytes */{done}":
            # The part is complete. If the server did not state the size, the checksum is verified later anyway.
            return
        part.unlink()  # It is longer than the file on the server.
        raise
    with response:
        if response.status != 206:
            done = 0
        total = None if response.length is None else done + response.length  # None: unknown, or no number
        if total is not None and shutil.disk_usage(part.parent).free < total - done:
            raise OSError(errno.ENOSPC, f"not enough free disk space for {total - done:,} bytes")
        if etag := response.headers.get("ETag") or response.headers.get("Last-Modified"):
            write_text(etag_file, etag)
        with part.open("ab" if done else "wb") as file:
            while chunk := response.read(_CHUNK_BYTES):
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
        raise DatasetError(
            f"{file}: checksum mismatch, MD5 {found} instead of {md5}; it was deleted, download it again"
        )


def _unpack(file: Path, folder: Path, report: Report) -> None:
    """Unpack into a temporary folder and rename it when it is complete."""
    temporary = folder.with_name(f".{folder.name}-{secrets.token_hex(4)}")
    temporary.mkdir()
    # The offset counts uncompressed bytes, whose total number is unknown for a compressed archive.
    total = _size(file) if file.suffix == ".tar" else None
    try:
        with tarfile.open(file) as archive:
            for member in archive:
                _check_member(file, member)
                _extract(archive, member, temporary / member.name)
                report("unpacking", archive.offset, total)
            _check_end(file, archive)
        # Archives made on macOS contain hidden files beside the top-level folder.
        top_level = [path for path in temporary.iterdir() if not path.name.startswith(".")]
        content = top_level[0] if len(top_level) == 1 and top_level[0].is_dir() else temporary
        sync_tree(content)
        content.replace(folder)
        sync_folder(folder.parent)
    except DatasetError:
        raise
    # A damaged archive has names with null characters, numbers out of range and text that cannot be decoded, too.
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, ValueError, OverflowError) as error:
        raise DatasetError(f"{file}: cannot be unpacked ({_reason(error)}); delete it and download again") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_end(file: Path, archive: tarfile.TarFile) -> None:
    """Check that the archive ends as it should, because tarfile accepts one that is cut off between two entries."""
    assert archive.fileobj is not None
    archive.fileobj.seek(archive.offset)
    if archive.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise DatasetError(f"{file}: has no end of archive and may be truncated; delete it and download again")


def _check_member(file: Path, member: tarfile.TarInfo) -> None:
    """Refuse entries that could write outside the folder or fill the disk, and anything but files and folders."""
    path = PurePosixPath(member.name)
    if path.is_absolute() or ".." in path.parts:
        raise DatasetError(f"{file}: entry '{member.name}' lies outside the archive's folder; nothing was unpacked")
    if member.issparse() or member.size > shutil.disk_usage(file.parent).free:
        raise DatasetError(f"{file}: entry '{member.name}' of {member.size:,} bytes is sparse or larger than the disk")
    if not (member.isfile() or member.isdir()):
        kind = "a link" if member.issym() or member.islnk() else "neither a file nor a folder"
        raise DatasetError(f"{file}: entry '{member.name}' is {kind}; nothing was unpacked")


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
    """Extract the content of an entry without its mode and owner; Python before 3.11.4 has no filter for that."""
    if member.isdir():
        path.mkdir(parents=True, exist_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    content = archive.extractfile(member)
    assert content is not None  # The entry is a file.
    with content, path.open("wb") as file:
        shutil.copyfileobj(content, file, _CHUNK_BYTES)


@contextmanager
def _os_error_as_dataset_error(problem: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise DatasetError(f"{problem}: {error.strerror or error}") from error


def _size(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _reason(error: Exception) -> str:
    if isinstance(error, http.client.IncompleteRead):
        return "connection lost" + (f", {error.expected:,} bytes are missing" if error.expected else "")
    reason = getattr(error, "reason", error)
    return " ".join(str(getattr(reason, "strerror", None) or reason).split()) or type(error).__name__
