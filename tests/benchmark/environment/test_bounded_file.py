"""Files of other people: regular files only, up to a limit of bytes, and links only where they are allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from stampbench.benchmark.environment.bounded_file import read_bounded


def test_regular_files_within_the_limit_are_read(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"1234")
    assert read_bounded(path, 4) == b"1234"
    with pytest.raises(OSError, match="larger than 3 bytes"):
        read_bounded(path, 3)
    for other in (tmp_path, Path("/dev/zero"), Path("a\0")):
        with pytest.raises(OSError, match="not a"):
            read_bounded(other, 4)


def test_symbolic_links_are_followed_only_where_they_may_be(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1234")
    (tmp_path / "link").symlink_to("a")
    assert read_bounded(tmp_path / "link", 4) == b"1234"
    with pytest.raises(OSError, match="a symbolic link, not a regular file"):
        read_bounded(tmp_path / "link", 4, follow=False)
