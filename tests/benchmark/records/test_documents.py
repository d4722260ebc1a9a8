"""Documents that contain the output of commands; the documents of this repository are up to date."""

from __future__ import annotations

import functools
import os
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from stampbench.benchmark.cli import render as command_module
from stampbench.benchmark.cli.render import run_command
from stampbench.benchmark.environment.folder_lock import folder_lock
from stampbench.benchmark.errors import UserError
from stampbench.benchmark.records.documents import drift, rendered, stale_figures
from stampbench.benchmark.records.publish import BOARDS, render
from stampbench.benchmark.records.tables import read_records

ROOT = Path(__file__).parents[3]
PUBLISHED = ROOT / "leaderboards"
Command = Callable[..., tuple[int, str, str]]
WITHOUT_BLOCKS = {"boards.md", "plan.md"}
"""Documents of the published leaderboard that no command below a comment has made."""
DOCUMENTS = ["README.md", *sorted(f"leaderboards/{each.name}" for each in PUBLISHED.glob("*.md"))]


@pytest.mark.parametrize("path", [each for each in DOCUMENTS if Path(each).name not in WITHOUT_BLOCKS])
def test_documents_equal_the_output_of_their_commands(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    assert "<!-- stampbench " in (ROOT / path).read_text()
    assert drift(ROOT / path, run_command) == []
    assert list(stale_figures(ROOT / path, run_command)) == []


@pytest.mark.parametrize(
    "folder", [path.parent for path in sorted(PUBLISHED.rglob("runs.csv"))], ids=lambda each: each.name
)
def test_published_leaderboards_equal_those_of_the_published_tables(folder: Path) -> None:
    assert render(read_records(folder, [])) == (folder / BOARDS).read_text()


def test_stale_document_is_reported_then_rendered_then_up_to_date(stampbench: Command, tmp_path: Path) -> None:
    document = tmp_path / "d.md"
    command = f"stampbench leaderboard --runs {PUBLISHED} --dataset hippocampus"
    document.write_text(f"before\n<!-- {command} -->\nold\n<!-- end -->\nafter\n")
    code, out, _ = stampbench("render", document, "--check")
    assert (code, "-old" in out) == (1, True)
    assert "\nold\n" in document.read_text()
    assert stampbench("render", document)[0] == 0
    text = document.read_text()
    assert text.startswith(f"before\n<!-- {command} -->\n\n### ")
    assert text.endswith("<!-- end -->\nafter\n")
    assert stampbench("render", document, "--check") == (0, f"{document}: up to date\n", "")


def test_every_published_figure_has_a_command() -> None:
    text = "\n".join((ROOT / path).read_text() for path in DOCUMENTS)
    for figure in PUBLISHED.glob("*.svg"):
        assert re.search(rf"^<!-- stampbench figure .* -->\n!\[.+\]\({figure.name}\)", text, re.MULTILINE), figure


def test_figure_is_redrawn_if_it_looks_different(stampbench: Command, tmp_path: Path) -> None:
    document, figure = tmp_path / "d.md", tmp_path / "dropout.svg"
    command = f"stampbench figure base-dropout --runs {PUBLISHED} --protocol cpu"
    table = f"<!-- stampbench leaderboard --runs {PUBLISHED} --dataset hippocampus -->\n<!-- end -->\n"
    document.write_text(f"<!-- {command} -->\n![base dropout]({figure.name})\n{table}")
    assert stampbench("render", document)[0] == 0
    figure.unlink()
    assert stampbench("render", document, "--check") == (1, f"{document}: differs\n{figure}: differs\n", "")
    assert not figure.exists()
    assert stampbench("render", document) == (0, f"{document}: rendered\n{figure}: redrawn\n", "")
    drawn = figure.read_text()
    assert stampbench("render", document, "--check")[0] == 0
    for pattern, change, stale in (
        ("L (\\d+\\.\\d+)", 0.01, False),
        ("L (\\d+\\.\\d+)", 0.1, True),
        (">(0\\.8\\d+)<", 0.01, True),
    ):
        found = re.search(pattern, drawn)
        assert found is not None
        changed = found[0].replace(found[1], f"{float(found[1]) + change:.6g}")
        figure.write_text(drawn.replace(found[0], changed, 1))
        assert bool(stale_figures(document, run_command)) == stale, changed
    figure.write_text(drawn.replace("</svg>", "<text>more</text></svg>"))
    assert list(stale_figures(document, run_command)) == [figure]


@pytest.mark.parametrize("picture", [b"\xff\xfe<svg>", b">" * 2_000_000])
def test_pictures_that_are_none_are_redrawn_at_once(picture: bytes, stampbench: Command, tmp_path: Path) -> None:
    document = tmp_path / "d.md"
    document.write_text(f"<!-- stampbench figure pareto --runs {PUBLISHED} --protocol cpu -->\n![](p.svg)\n")
    (tmp_path / "p.svg").write_bytes(picture)
    begun = time.process_time()
    assert stampbench("render", document, "--check")[:2] == (1, f"{document}: differs\n{tmp_path / 'p.svg'}: differs\n")
    assert time.process_time() - begun < 30


def test_documents_and_pictures_are_regular_files(stampbench: Command, tmp_path: Path) -> None:
    """A repository of somebody else can contain links to devices."""
    document, picture = tmp_path / "d.md", tmp_path / "p.svg"
    os.mkfifo(document)
    for make in (None, lambda: document.symlink_to("/dev/zero")):
        if make is not None:
            document.unlink()
            make()
        for check in ((), ("--check",)):
            code, _, err = stampbench("render", document, *check)
            assert (code, "not a regular file" in err or "No such file" in err) == (2, True), err
    document.unlink()
    document.write_text(f"<!-- stampbench figure pareto --runs {PUBLISHED} --protocol cpu -->\n![](p.svg)\n")
    os.mkfifo(picture)
    code, _, err = stampbench("render", document)
    assert (code, f"picture {picture}: not a regular file" in err) == (2, True), err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<!-- stampbench figure pareto -->\n![](pareto.png)\n", "or a figure the line"),
        ("<!-- stampbench figure pareto\n-->\n![](pareto.svg)\n", "or a figure the line"),
        ("<!-- stampbench compare a b -->\ntext\n", "needs the line '<!-- end -->' below it"),
        ("<!-- stampbench compare a b -->\n<!-- stampbench compare c d -->\n<!-- end -->\n", "needs the line"),
        ("<!-- stampbench figure paret -->\n![](pareto.svg)\n", "No such command 'paret'"),
        ("<!-- stampbench figure 'pareto -->\n![](pareto.svg)\n", "No closing quotation"),
        ("<!-- stampbench compare 'a b -->\n<!-- end -->\n", "No closing quotation"),
    ],
)
def test_documents_that_cannot_be_rendered_are_refused_and_unchanged(
    text: str, message: str, stampbench: Command, tmp_path: Path
) -> None:
    document = tmp_path / "d.md"
    document.write_text(text)
    code, _, err = stampbench("render", document)
    assert (code, message in err) == (2, True), err
    assert document.read_text() == text


def test_documents_may_contain_only_commands_that_read(stampbench: Command, tmp_path: Path) -> None:
    document = tmp_path / "d.md"
    for command, message in (
        ("stampbench run --strategy flat", "a document may contain leaderboard, compare, figure, list only"),
        ("stampbench leaderboard --runs nowhere", "no runs at nowhere"),
    ):
        document.write_text(f"<!-- {command} -->\n<!-- end -->\n")
        code, _, err = stampbench("render", document)
        assert code == 2
        assert message in err
    assert "No such file" in stampbench("render", "no-such.md")[2]


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("leaderboard --runs {runs} --dataset hippocampus --output {victim}", "option --output is not allowed"),
        ("leaderboard --runs {runs} --dataset hippocampus --output={victim}", "option --output is not allowed"),
        ("compare stamp standard --runs {runs} -- x", "option -- is not allowed"),
        ("leaderboard --help", "option --help is not allowed"),
        (" figure pareto --runs {runs}", "a figure needs the line"),
    ],
)
@pytest.mark.parametrize("check", [("--check",), ()])
def test_commands_in_documents_cannot_write(
    command: str, message: str, check: tuple[str, ...], stampbench: Command, tmp_path: Path
) -> None:
    document, victim = tmp_path / "d.md", tmp_path / "victim"
    victim.write_text("precious")
    text = f"<!-- stampbench {command.format(runs=PUBLISHED, victim=victim)} -->\n<!-- end -->\n"
    document.write_text(text)
    code, _, err = stampbench("render", document, *check)
    assert (code, message in err) == (2, True), err
    assert victim.read_text() == "precious"
    assert document.read_text() == text
    assert {path.name for path in tmp_path.iterdir()} <= {"d.md", "victim"}


@pytest.mark.parametrize("picture", ["../escape.svg", "{folder}/escape.svg", "link.svg", "folder/escape.svg"])
def test_pictures_lie_in_the_folder_of_their_document(picture: str, stampbench: Command, tmp_path: Path) -> None:
    inside, outside = tmp_path / "inside", tmp_path / "outside"
    inside.mkdir()
    outside.mkdir()
    (inside / "link.svg").symlink_to(outside / "linked.svg")
    (inside / "folder").symlink_to(outside)
    document = inside / "d.md"
    command = f"stampbench figure base-dropout --runs {PUBLISHED} --protocol cpu"
    document.write_text(f"<!-- {command} -->\n![]({picture.format(folder=outside)})\n")
    code, _, err = stampbench("render", document)
    assert (code, "lies outside the document's folder" in err) == (2, True), err
    assert list(outside.iterdir()) == []
    assert [path.name for path in tmp_path.iterdir() if path.suffix == ".svg"] == []


def test_output_with_a_comment_is_refused(tmp_path: Path) -> None:
    document = tmp_path / "d.md"
    document.write_text("<!-- stampbench leaderboard -->\n<!-- end -->\n")
    with pytest.raises(UserError, match="contains a comment"):
        rendered(document, lambda words: "text\n<!-- stampbench figure pareto -->\n![](x.svg)\n")


def test_only_one_process_renders_in_a_folder(
    stampbench: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "d.md").write_text("text\n")
    monkeypatch.setattr(command_module, "folder_lock", functools.partial(folder_lock, seconds=0.1))
    with folder_lock(tmp_path):
        code, _, err = stampbench("render", "d.md")
        assert (code, "another process is rewriting it" in err) == (2, True), err
        assert stampbench("render", "d.md", "--check")[0] == 0
    assert stampbench("render", "d.md")[0] == 0
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith(".")} == set()
