"""Downloads from a local server: interruptions, wrong checksums, full disks, no network."""

from __future__ import annotations

import hashlib
import io
import os
import socket
import tarfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest
from filelock import FileLock

from stampbench.datasets import download
from stampbench.datasets.catalogue import CATALOGUE
from stampbench.datasets.definition import Archive
from stampbench.datasets.download import fetch
from stampbench.datasets.errors import DatasetError


class Server(ThreadingHTTPServer):
    """Server of a single file."""

    content = b""
    cuts: list[int]  # Bytes after which each of the next responses is cut off.
    ranges: list[str | None]  # Range header of each request so far.
    etag = '"one"'
    resumes = True  # Whether the server supports range requests.
    answer = b""  # Raw response to every request, if there is one.

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/Task99_Tiny.tar"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        if self.server.answer:
            self.wfile.write(self.server.answer)
            return
        requested = self.headers.get("Range")
        self.server.ranges.append(requested)
        start = 0
        if requested and self.server.resumes and self.headers.get("If-Range") == self.server.etag:
            start = int(requested.removeprefix("bytes=").removesuffix("-"))
        if start >= len(self.server.content) > 0:
            self.send_response(416)
            self.send_header("Content-Range", f"bytes */{len(self.server.content)}")
            self.end_headers()
            return
        rest = self.server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(rest)))
        self.send_header("ETag", self.server.etag)
        self.end_headers()
        self.wfile.write(rest[: self.server.cuts.pop(0)] if self.server.cuts else rest)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download, "_RETRY_DELAY_SECONDS", 0.01)
    server = Server(("127.0.0.1", 0), Handler)
    server.content, server.cuts, server.ranges = archive(), [], []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def archive() -> bytes:
    """Return a tar archive of two files, one of which has 300 kB of random bytes."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in (("dataset.json", b"{}"), ("imagesTr/a.nii", bytes(os.urandom(300_000)))):
            info = tarfile.TarInfo(f"Task99_Tiny/{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def entry(server: Server, md5: str = "right") -> Archive:
    """Return the archive that the server offers; `md5` of "right" stands for the checksum of its content."""
    right = hashlib.md5(server.content).hexdigest()
    return Archive(url=server.url, md5=right if md5 == "right" else md5, folder="Task99_Tiny")


def names_in(root: Path) -> list[str]:
    """Return the names of files and folders except lock files."""
    return sorted(path.name for path in root.iterdir() if not path.name.endswith(".lock"))


def test_an_archive_is_downloaded_verified_and_unpacked_once(server: Server, tmp_path: Path) -> None:
    reports: list[tuple[str, int, int | None]] = []
    folder = fetch(entry(server), tmp_path, lambda *report: reports.append(report))
    assert folder == tmp_path / "Task99_Tiny"
    assert (folder / "dataset.json").read_bytes() == b"{}"
    assert len((folder / "imagesTr" / "a.nii").read_bytes()) == 300_000
    assert names_in(tmp_path) == ["Task99_Tiny"]
    assert ("downloading", len(server.content), len(server.content)) in reports
    assert [step for step, _, _ in reports][-1] == "unpacking"
    fetch(entry(server), tmp_path)
    assert len(server.ranges) == 1  # the second call makes no request


def test_a_broken_connection_is_resumed(server: Server, tmp_path: Path) -> None:
    server.cuts = [100_000, 50_000]
    fetch(entry(server), tmp_path)
    assert server.ranges == [None, "bytes=100000-", "bytes=150000-"]
    assert len((tmp_path / "Task99_Tiny" / "imagesTr" / "a.nii").read_bytes()) == 300_000


def test_a_later_call_resumes_an_interrupted_download(server: Server, tmp_path: Path) -> None:
    server.cuts = [100_000, 0, 0, 0, 0]
    with pytest.raises(DatasetError, match=r"lost.*100,000 bytes are kept, run the same command again to resume"):
        fetch(entry(server), tmp_path)
    server.cuts.clear()
    fetch(entry(server), tmp_path)
    assert server.ranges[-1] == "bytes=100000-"
    assert names_in(tmp_path) == ["Task99_Tiny"]


def test_a_complete_part_is_not_downloaded_again(server: Server, tmp_path: Path) -> None:
    (tmp_path / "Task99_Tiny.tar.part").write_bytes(server.content)
    (tmp_path / "Task99_Tiny.tar.etag").write_text(server.etag)
    assert fetch(entry(server), tmp_path).is_dir()


@pytest.mark.parametrize("cause", ["changed", "cannot resume"])
def test_a_changed_file_or_a_server_without_resume_restarts_the_download(
    cause: str, server: Server, tmp_path: Path
) -> None:
    server.cuts = [100_000, 0, 0, 0, 0]
    with pytest.raises(DatasetError):
        fetch(entry(server), tmp_path)
    server.cuts.clear()
    if cause == "changed":
        server.content, server.etag = archive(), '"two"'
    else:
        server.resumes = False
    fetch(entry(server), tmp_path)
    assert names_in(tmp_path) == ["Task99_Tiny"]


def test_an_archive_with_a_wrong_checksum_is_refused_and_deleted(server: Server, tmp_path: Path) -> None:
    found = hashlib.md5(server.content).hexdigest()
    with pytest.raises(DatasetError, match=f"checksum mismatch, MD5 {found} instead of {'0' * 32}"):
        fetch(entry(server, md5="0" * 32), tmp_path)
    assert not (tmp_path / "Task99_Tiny").exists()
    assert not list(tmp_path.glob("*.part"))


def test_an_existing_archive_is_verified_too(server: Server, tmp_path: Path) -> None:
    (tmp_path / "Task99_Tiny.tar").write_bytes(server.content[:1024])  # truncated between two entries
    with pytest.raises(DatasetError, match=r"checksum mismatch, MD5 .* it was deleted, download it again"):
        fetch(entry(server), tmp_path)
    assert fetch(entry(server), tmp_path).is_dir()
    assert len(server.ranges) == 1


def test_a_part_that_is_too_long_restarts_the_download(server: Server, tmp_path: Path) -> None:
    (tmp_path / "Task99_Tiny.tar.part").write_bytes(server.content + b"more")
    (tmp_path / "Task99_Tiny.tar.etag").write_text(server.etag)
    assert fetch(entry(server), tmp_path).is_dir()
    assert len(server.ranges) == 2


def test_requests_to_a_busy_server_are_retried(server: Server, tmp_path: Path) -> None:
    busy = [503, 429]

    def answer(self: Handler) -> None:
        self.send_error(busy.pop()) if busy else Handler.do_GET(self)

    server.RequestHandlerClass = type("Busy", (Handler,), {"do_GET": answer})
    assert fetch(entry(server), tmp_path).is_dir()
    assert not busy


def test_a_second_download_of_the_same_archive_is_refused(server: Server, tmp_path: Path) -> None:
    lock = FileLock(tmp_path / ".Task99_Tiny.tar.lock")
    with lock, pytest.raises(DatasetError, match="another process is downloading it"):
        fetch(entry(server), tmp_path)
    assert fetch(entry(server), tmp_path).is_dir()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_reported_in_one_line(server: Server, tmp_path: Path) -> None:
    (tmp_path / "Task99_Tiny.tar.part").symlink_to("/dev/full")
    with pytest.raises(DatasetError, match=f"cannot write {tmp_path}/Task99_Tiny: No space left on device"):
        fetch(entry(server), tmp_path)


def test_too_little_disk_space_is_reported_before_the_download(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: SimpleNamespace(free=1000))
    with pytest.raises(DatasetError, match=f"not enough free disk space for {len(server.content):,} bytes"):
        fetch(entry(server), tmp_path)


def test_a_missing_network_is_reported_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_RETRY_DELAY_SECONDS", 0.0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for host in (f"127.0.0.1:{port}", "no-such-host.invalid"):
        with pytest.raises(DatasetError, match=rf"cannot download http://{host}/x.tar \(.+\)$"):
            fetch(Archive(url=f"http://{host}/x.tar", md5=None, folder="x"), tmp_path)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\nx",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: http://[::1\r\n\r\n",
        b"HTTP/1.1 302 Found\r\nLocation: file:///etc/passwd\r\n\r\n",
        b"HTTP/9 x\r\n\r\n",
    ],
)
def test_answers_that_are_none_are_an_error(answer: bytes, server: Server, tmp_path: Path) -> None:
    server.answer = answer
    with pytest.raises(DatasetError) as error:
        fetch(entry(server), tmp_path)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "Task99_Tiny").exists()


@pytest.mark.parametrize("host", ["[::1", f"{'a' * 300}", "..é", "127.0.0.1:99999999999"])
def test_addresses_that_are_none_are_an_error(host: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_RETRY_DELAY_SECONDS", 0)
    with pytest.raises(DatasetError, match="cannot download"):
        fetch(Archive(url=f"http://{host}/a.tar", md5=None, folder="a"), tmp_path)


def test_a_missing_file_on_the_server_is_an_error_without_retry(server: Server, tmp_path: Path) -> None:
    requests: list[str] = []

    def answer(self: Handler) -> None:
        requests.append(self.path)
        self.send_error(404)

    server.RequestHandlerClass = type("Missing", (Handler,), {"do_GET": answer})
    with pytest.raises(DatasetError, match=r"cannot download .* \(Not Found\)"):
        fetch(entry(server), tmp_path)
    assert len(requests) == 1


def test_the_command_downloads_and_suggests_the_next_step(
    server: Server, stampbench: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tiny = CATALOGUE["hippocampus"].model_copy(update={"archive": entry(server)})
    monkeypatch.setitem(CATALOGUE, "hippocampus", tiny)
    code, out, _ = stampbench("datasets", "download", "hippocampus", "--data-root", tmp_path)
    assert code == 0
    assert out.splitlines() == [
        f"{tmp_path / 'Task99_Tiny'}: downloaded",
        f"next: stampbench datasets check hippocampus --data-root {tmp_path}",
    ]
    code, out, _ = stampbench("datasets", "download", "hippocampus", "--data-root", tmp_path)
    assert "exists already" in out
    for name, reason in (("harp", "'stampbench datasets show harp' says how"), ("phantom2d", "it is built in")):
        code, _, err = stampbench("datasets", "download", name, "--data-root", tmp_path)
        assert (code, reason in err) == (2, True)
