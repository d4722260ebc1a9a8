"""Downloads from a server on this machine: interrupted, wrong, hostile, without room, without a network."""

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

import pytest
from filelock import FileLock
from monai.apps import DecathlonDataset

from stampbench.datasets import download
from stampbench.datasets.catalogue import CATALOGUE
from stampbench.datasets.definition import Archive
from stampbench.datasets.download import fetch
from stampbench.datasets.errors import DatasetError


class Server(ThreadingHTTPServer):
    """Serves `content`; `cuts` says after how many bytes each of the next answers breaks off."""

    content = b""
    cuts: list[int]
    ranges: list[str | None]
    etag = '"one"'
    resumes = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/Task99_Tiny.tar"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.ranges.append(asked)
        start = 0
        if asked and self.server.resumes and self.headers.get("If-Range") == self.server.etag:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
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
    monkeypatch.setattr(download, "_PAUSE", 0.01)
    server = Server(("127.0.0.1", 0), Handler)
    server.content, server.cuts, server.ranges = archive(), [], []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def archive(change: Callable[[tarfile.TarFile], None] = lambda tar: None, top: str = "Task99_Tiny/") -> bytes:
    """A tar of two files, one of them of 300 kB that does not compress."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in (("dataset.json", b"{}"), ("imagesTr/a.nii", bytes(os.urandom(300_000)))):
            info = tarfile.TarInfo(top + name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        change(tar)
    return buffer.getvalue()


def entry(server: Server, md5: str | None = "right", folder: str = "Task99_Tiny") -> Archive:
    right = hashlib.md5(server.content).hexdigest()
    return Archive(url=server.url, md5=right if md5 == "right" else md5, folder=folder)


def left_over(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir() if not path.name.endswith(".lock"))


def test_an_archive_is_fetched_verified_and_unpacked_once(server: Server, tmp_path: Path) -> None:
    heard: list[tuple[str, int, int | None]] = []
    folder = fetch(entry(server), tmp_path, lambda *each: heard.append(each))
    assert folder == tmp_path / "Task99_Tiny"
    assert (folder / "dataset.json").read_bytes() == b"{}"
    assert len((folder / "imagesTr" / "a.nii").read_bytes()) == 300_000
    assert left_over(tmp_path) == ["Task99_Tiny"]
    assert ("downloading", len(server.content), len(server.content)) in heard
    assert [what for what, _, _ in heard][-1] == "unpacking"
    fetch(entry(server), tmp_path)
    assert len(server.ranges) == 1  # the second call asked for nothing


def test_an_archive_without_a_folder_of_its_own_becomes_the_folder(server: Server, tmp_path: Path) -> None:
    server.content = archive(top="")
    assert fetch(entry(server, folder="IXI/IXI-T1"), tmp_path) == tmp_path / "IXI" / "IXI-T1"
    assert sorted(path.name for path in (tmp_path / "IXI" / "IXI-T1").iterdir()) == ["dataset.json", "imagesTr"]


def test_a_transfer_that_breaks_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    server.cuts = [100_000, 50_000]
    fetch(entry(server), tmp_path)
    assert server.ranges == [None, "bytes=100000-", "bytes=150000-"]
    assert len((tmp_path / "Task99_Tiny" / "imagesTr" / "a.nii").read_bytes()) == 300_000


def test_the_next_call_goes_on_where_the_last_one_was(server: Server, tmp_path: Path) -> None:
    server.cuts = [100_000, 0, 0, 0, 0]
    with pytest.raises(DatasetError, match=r"connection broke.*100,000 bytes are kept, the same command goes on"):
        fetch(entry(server), tmp_path)
    server.cuts.clear()
    fetch(entry(server), tmp_path)
    assert server.ranges[-1] == "bytes=100000-"
    assert left_over(tmp_path) == ["Task99_Tiny"]


def test_a_part_that_was_complete_needs_no_more_bytes(server: Server, tmp_path: Path) -> None:
    (tmp_path / "Task99_Tiny.tar.part").write_bytes(server.content)
    (tmp_path / "Task99_Tiny.tar.etag").write_text(server.etag)
    assert fetch(entry(server), tmp_path).is_dir()


@pytest.mark.parametrize("what", ["changed", "cannot resume"])
def test_a_file_that_changed_or_a_server_that_cannot_resume_begins_anew(
    what: str, server: Server, tmp_path: Path
) -> None:
    server.cuts = [100_000, 0, 0, 0, 0]
    with pytest.raises(DatasetError):
        fetch(entry(server), tmp_path)
    server.cuts.clear()
    if what == "changed":
        server.content, server.etag = archive(), '"two"'
    else:
        server.resumes = False
    fetch(entry(server), tmp_path)
    assert left_over(tmp_path) == ["Task99_Tiny"]


def test_a_wrong_checksum_is_told_and_nothing_is_kept(server: Server, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=f"its MD5 is {hashlib.md5(server.content).hexdigest()}, not {'0' * 32}"):
        fetch(entry(server, md5="0" * 32), tmp_path)
    assert not (tmp_path / "Task99_Tiny").exists()
    assert not list(tmp_path.glob("*.part"))


def test_an_archive_that_was_there_is_verified_too(server: Server, tmp_path: Path) -> None:
    (tmp_path / "Task99_Tiny.tar").write_bytes(server.content[:1024])  # cut between two entries
    with pytest.raises(DatasetError, match=r"its MD5 is .* it is deleted, download it again"):
        fetch(entry(server), tmp_path)
    assert fetch(entry(server), tmp_path).is_dir()
    assert len(server.ranges) == 1


def test_a_part_that_is_too_long_begins_anew(server: Server, tmp_path: Path) -> None:
    (tmp_path / "Task99_Tiny.tar.part").write_bytes(server.content + b"more")
    (tmp_path / "Task99_Tiny.tar.etag").write_text(server.etag)
    assert fetch(entry(server), tmp_path).is_dir()
    assert len(server.ranges) == 2


def test_a_server_that_is_busy_is_asked_again(server: Server, tmp_path: Path) -> None:
    busy = [503, 429]

    def answer(self: Handler) -> None:
        self.send_error(busy.pop()) if busy else Handler.do_GET(self)

    server.RequestHandlerClass = type("Busy", (Handler,), {"do_GET": answer})
    assert fetch(entry(server), tmp_path).is_dir()
    assert not busy


def test_of_two_downloads_at_once_one_is_told(server: Server, tmp_path: Path) -> None:
    with FileLock(tmp_path / ".Task99_Tiny.tar.lock"), pytest.raises(DatasetError, match="another process is fetching"):
        fetch(entry(server), tmp_path)
    assert fetch(entry(server), tmp_path).is_dir()


def test_folders_have_the_usual_modes(server: Server, tmp_path: Path) -> None:
    (tmp_path / "usual").mkdir()
    server.content = archive(top="")
    assert fetch(entry(server), tmp_path).stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_without_a_known_checksum_a_truncated_archive_is_still_found(server: Server, tmp_path: Path) -> None:
    server.content = server.content[:200_000]
    with pytest.raises(DatasetError, match="cannot be unpacked"):
        fetch(entry(server, md5=None), tmp_path)
    assert not (tmp_path / "Task99_Tiny").exists()


def outside(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> Callable[[tarfile.TarFile], None]:
    def add(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        tar.addfile(info)

    return add


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (outside("../evil"), "would leave the folder"),
        (outside("Task99_Tiny/../../evil"), "would leave the folder"),
        (outside("/tmp/evil"), "would leave the folder"),
        (outside("Task99_Tiny/link", tarfile.SYMTYPE, "/etc/passwd"), "is a link"),
        (outside("Task99_Tiny/link", tarfile.SYMTYPE, "dataset.json"), "is a link"),
        (outside("Task99_Tiny/hard", tarfile.LNKTYPE, "Task99_Tiny/dataset.json"), "is a link"),
        (outside("Task99_Tiny/pipe", tarfile.FIFOTYPE), "is no file"),
    ],
)
def test_hostile_entries_are_refused_before_anything_is_there(
    change: Callable[[tarfile.TarFile], None], reason: str, server: Server, tmp_path: Path
) -> None:
    server.content = archive(change)
    root = tmp_path / "data"
    with pytest.raises(DatasetError, match=f"{reason}; nothing is unpacked"):
        fetch(entry(server), root)
    assert left_over(root) == ["Task99_Tiny.tar"]
    assert left_over(tmp_path) == ["data"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_is_told_in_a_line(server: Server, tmp_path: Path) -> None:
    (tmp_path / "Task99_Tiny.tar.part").symlink_to("/dev/full")
    with pytest.raises(DatasetError, match=f"cannot write {tmp_path}/Task99_Tiny: No space left on device"):
        fetch(entry(server), tmp_path)


def test_too_little_room_is_told_before_the_transfer(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Usage:
        free = 1000

    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage)
    with pytest.raises(DatasetError, match=f"{len(server.content):,} bytes are to come, more than are free"):
        fetch(entry(server), tmp_path)


def test_no_network_is_told_in_a_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_PAUSE", 0.0)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    for host in (f"127.0.0.1:{port}", "no-such-host.invalid"):
        with pytest.raises(DatasetError, match=rf"cannot download http://{host}/x.tar \(.+\)$"):
            fetch(Archive(url=f"http://{host}/x.tar", md5=None, folder="x"), tmp_path)


def test_an_absent_file_is_not_asked_for_again(server: Server, tmp_path: Path) -> None:
    server.RequestHandlerClass = type("Absent", (Handler,), {"do_GET": lambda self: self.send_error(404)})
    with pytest.raises(DatasetError, match=r"cannot download .* \(Not Found\)"):
        fetch(entry(server), tmp_path)


def test_addresses_and_checksums_are_monais() -> None:
    for definition in CATALOGUE.values():
        if definition.archive is not None and definition.archive.folder in DecathlonDataset.resource:
            assert definition.archive.url == DecathlonDataset.resource[definition.archive.folder]
            assert definition.archive.md5 == DecathlonDataset.md5[definition.archive.folder]


def test_the_command_downloads_and_says_what_is_next(
    server: Server, stampbench: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    tiny = CATALOGUE["hippocampus"].model_copy(update={"archive": entry(server)})
    monkeypatch.setitem(CATALOGUE, "hippocampus", tiny)
    code, out, _ = stampbench("datasets", "download", "hippocampus", "--data-root", tmp_path)
    assert code == 0
    assert out.splitlines() == [
        f"{tmp_path / 'Task99_Tiny'}: fetched",
        f"next: stampbench datasets check hippocampus --data-root {tmp_path}",
    ]
    code, out, _ = stampbench("datasets", "download", "hippocampus", "--data-root", tmp_path)
    assert "is here already" in out
    for name, reason in (("harp", "'stampbench datasets show harp' says how"), ("phantom2d", "it is built in")):
        code, _, err = stampbench("datasets", "download", name, "--data-root", tmp_path)
        assert (code, reason in err) == (2, True)
