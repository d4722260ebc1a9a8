"""Files that are written completely or not at all."""

from __future__ import annotations

import errno
import os
from contextlib import AbstractContextManager
from pathlib import Path

import pytest

from stampbench.datasets import atomic_file
from stampbench.datasets.atomic_file import new_folder, whole_file, whole_folder, write_bytes, write_text


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
        assert not (tmp_path / "new" / "page" / "index.html").exists()
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
    with pytest.raises(ZeroDivisionError):
        _filled(whole_folder(tmp_path / "deep" / "other"), error=ZeroDivisionError())
    assert not (tmp_path / "deep" / "other").exists()


def test_file_of_a_library_is_complete_or_as_before(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("untouched")
    (tmp_path / "map.nii.gz").symlink_to(victim)
    with whole_file(tmp_path / "map.nii.gz") as path:
        assert path.name == "map.nii.gz"
        path.write_text("1")
        assert (tmp_path / "map.nii.gz").read_text() == "untouched"
    with pytest.raises(ZeroDivisionError):
        _filled(whole_file(tmp_path / "map.nii.gz"), error=ZeroDivisionError())
    assert content(tmp_path) == {"map.nii.gz": "1", "victim": "untouched"}
    with pytest.raises(OSError, match="No such file"), whole_file(tmp_path / "nothing"):
        pass
    assert len(list(tmp_path.iterdir())) == 2


def test_new_folder_appears_at_once_and_replaces_none(tmp_path: Path) -> None:
    with new_folder(tmp_path / "a" / "case") as case:
        (case / "images.npy").write_text("1")
        assert not (tmp_path / "a" / "case").exists()
    with pytest.raises(OSError, match="not empty"), new_folder(tmp_path / "a" / "case") as case:
        (case / "images.npy").write_text("2")
    with pytest.raises(KeyboardInterrupt):
        _filled(new_folder(tmp_path / "a" / "other"), error=KeyboardInterrupt())
    assert content(tmp_path) == {"a/case/images.npy": "1"}
    assert len(list((tmp_path / "a").iterdir())) == 1


def test_names_of_any_accepted_length_are_written(tmp_path: Path) -> None:
    """The temporary name is not longer than the file's."""
    for name in ("a" * 255, "é" * 127, "😀" * 63):
        write_text(tmp_path / name, name)
        with whole_file(tmp_path / name) as path:
            path.write_text("new")
    assert set(content(tmp_path).values()) == {"new"}


def test_content_is_on_the_disk_before_its_name_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a power failure there is no complete name with half of the content."""
    steps: list[str] = []

    def recorded(descriptor: int) -> None:
        steps.append(Path(f"/proc/self/fd/{descriptor}").readlink().name)

    monkeypatch.setattr(os, "fsync", recorded)
    for name in ("rename", "replace"):
        step = getattr(Path, name)
        monkeypatch.setattr(Path, name, lambda path, to, step=step: (steps.append("renamed"), step(path, to)))
    for write in (
        lambda path: write_text(path, "1"),
        lambda path: _filled(whole_file(path)),
        lambda path: _filled(new_folder(path)),
        lambda path: _filled(whole_folder(path)),
    ):
        steps.clear()
        write(tmp_path / str(len(list(tmp_path.iterdir()))))
        first = steps.index("renamed")
        assert len(steps[:first]) >= 1
        assert steps[-1] != "renamed", "the folder with the name is written last"


def _filled(context: AbstractContextManager[Path], error: BaseException | None = None) -> None:
    with context as path:
        (path / "a" if path.is_dir() else path).write_text("1")
        if error is not None:
            raise error
