"""Files that are written completely or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from stampbench.benchmark.environment import atomic_file
from stampbench.benchmark.environment.atomic_file import whole_folder, write_bytes, write_text


def test_symbolic_links_are_replaced_and_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / "table.csv").symlink_to(victim)
    write_text(tmp_path / "table.csv", "new")
    assert (victim.read_text(), (tmp_path / "table.csv").read_text()) == ("untouched", "new")
    assert not (tmp_path / "table.csv").is_symlink()
    # The temporary name cannot be guessed; if somebody did, the link there would not be followed.
    monkeypatch.setattr(atomic_file.secrets, "token_hex", lambda _: "0")
    (tmp_path / ".table.csv.0").symlink_to(victim)
    with pytest.raises(FileExistsError):
        write_text(tmp_path / "table.csv", "newer")
    assert (victim.read_text(), (tmp_path / "table.csv").read_text()) == ("untouched", "new")


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_failed_write_leaves_the_old_file_and_nothing_else(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    write_text(tmp_path / "a", "old")
    with monkeypatch.context() as patch:
        patch.setattr(*((os, step) if step == "fsync" else (Path, step)), full)
        with pytest.raises(OSError, match="No space left"):
            write_text(tmp_path / "a", "new")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "old")]


def test_replaced_file_is_kept_under_another_name(tmp_path: Path) -> None:
    for content in (b"1", b"2", b"3"):
        write_bytes(tmp_path / "a", [content, b"\n"], keep=tmp_path / "b")
    assert [(tmp_path / name).read_bytes() for name in "ab"] == [b"3\n", b"2\n"]


def content(folder: Path) -> dict[str, str]:
    """Return the text of every file below a folder by its path."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_text() for path in files}


def test_folder_is_filled_at_the_end_and_its_other_files_stay(tmp_path: Path) -> None:
    with whole_folder(tmp_path / "new" / "page") as page:
        (page / "index.html").write_text("1")
        assert not (tmp_path / "new" / "page").exists()
    with whole_folder(tmp_path / "new" / "page") as page:
        (page / "index.html").write_text("2")
        (page / "runs" / "a").mkdir(parents=True)
        (page / "runs" / "a" / "1.html").write_text("3")
    (tmp_path / "new" / "page" / "notes.txt").write_text("mine")
    with whole_folder(tmp_path / "new" / "page") as page:
        (page / "index.html").write_text("4")
    expected = {"page/index.html": "4", "page/notes.txt": "mine", "page/runs/a/1.html": "3"}
    assert content(tmp_path / "new") == expected


def test_interrupted_folder_is_as_before(tmp_path: Path) -> None:
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_text("old")

    def interrupted(error: BaseException) -> None:
        with whole_folder(tmp_path / "page") as page:
            (page / "index.html").write_text("half")
            raise error

    for error in (OSError(errno.ENOSPC, "No space left on device"), KeyboardInterrupt()):
        with pytest.raises(type(error)):
            interrupted(error)
        assert content(tmp_path) == {"page/index.html": "old"}
