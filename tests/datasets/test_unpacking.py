"""Unpacking of downloaded archives: cut off, malicious, or larger than the disk."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from stampbench.datasets.definition import Archive
from stampbench.datasets.download import fetch
from stampbench.datasets.errors import DatasetError


def archive(change: Callable[[tarfile.TarFile], None] = lambda tar: None, top: str = "Task99_Tiny/") -> bytes:
    """Return a tar archive of two files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in (("dataset.json", b"{}"), ("imagesTr/a.nii", bytes(1000))):
            info = tarfile.TarInfo(top + name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        change(tar)
    return buffer.getvalue()


def unpack(content: bytes, root: Path, folder: str = "Task99_Tiny") -> Path:
    """Unpack an archive that was downloaded before, with an unknown checksum."""
    file = (root / folder).parent / "Task99_Tiny.tar"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return fetch(Archive(url=f"http://127.0.0.1/{file.name}", md5=None, folder=folder), root)


def names_in(root: Path) -> list[str]:
    """Return the names of files and folders except lock files."""
    return sorted(path.name for path in root.iterdir() if not path.name.endswith(".lock"))


def test_an_archive_without_a_top_level_folder_is_unpacked_into_the_folder(tmp_path: Path) -> None:
    assert unpack(archive(top=""), tmp_path, "IXI/IXI-T1") == tmp_path / "IXI" / "IXI-T1"
    assert sorted(path.name for path in (tmp_path / "IXI" / "IXI-T1").iterdir()) == ["dataset.json", "imagesTr"]


def test_unpacked_folders_have_the_default_mode(tmp_path: Path) -> None:
    (tmp_path / "default").mkdir()
    assert unpack(archive(top=""), tmp_path).stat().st_mode == (tmp_path / "default").stat().st_mode


def test_a_truncated_archive_without_known_checksum_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="cannot be unpacked"):
        unpack(archive()[:1800], tmp_path)
    assert not (tmp_path / "Task99_Tiny").exists()


@pytest.mark.parametrize("compressed", [False, True])
def test_an_archive_that_is_cut_off_between_two_entries_is_refused(compressed: bool, tmp_path: Path) -> None:
    whole = archive()
    with tarfile.open(fileobj=io.BytesIO(whole)) as tar:
        second = tar.getmembers()[1].offset
    content = gzip.compress(whole[:second]) if compressed else whole[:second]
    with pytest.raises(DatasetError, match="has no end of archive and may be truncated"):
        unpack(content, tmp_path)
    assert not (tmp_path / "Task99_Tiny").exists()


def test_entries_that_would_fill_the_disk_are_refused(tmp_path: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(archive())) as tar:
        info = tar.getmembers()[1]
    info.size = 2**62
    with pytest.raises(DatasetError, match="is sparse or larger than the disk"):
        unpack(info.tobuf() + bytes(2048), tmp_path)


def extra_entry(name: str, kind: bytes = tarfile.REGTYPE, target: str = "") -> Callable[[tarfile.TarFile], None]:
    """Return a function that adds an entry of the given type and link target to an archive."""

    def add(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.linkname = kind, target
        tar.addfile(info)

    return add


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (extra_entry("../evil"), "lies outside the archive's folder"),
        (extra_entry("Task99_Tiny/../../evil"), "lies outside the archive's folder"),
        (extra_entry("/tmp/evil"), "lies outside the archive's folder"),
        (extra_entry("Task99_Tiny/link", tarfile.SYMTYPE, "/etc/passwd"), "is a link"),
        (extra_entry("Task99_Tiny/link", tarfile.SYMTYPE, "dataset.json"), "is a link"),
        (extra_entry("Task99_Tiny/hard", tarfile.LNKTYPE, "Task99_Tiny/dataset.json"), "is a link"),
        (extra_entry("Task99_Tiny/pipe", tarfile.FIFOTYPE), "is neither a file nor a folder"),
    ],
)
def test_malicious_entries_are_refused_and_nothing_is_unpacked(
    change: Callable[[tarfile.TarFile], None], reason: str, tmp_path: Path
) -> None:
    root = tmp_path / "data"
    with pytest.raises(DatasetError, match=f"{reason}; nothing was unpacked"):
        unpack(archive(change), root)
    assert names_in(root) == ["Task99_Tiny.tar"]
    assert names_in(tmp_path) == ["data"]
