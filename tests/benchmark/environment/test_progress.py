"""Progress without a terminal: plain lines."""

from __future__ import annotations

from io import StringIO

import pytest
from rich.console import Console
from rich.text import Text

from stampbench.benchmark.environment import progress as module
from stampbench.benchmark.environment.progress import Progress


class Clock:
    """Clock that only the test advances."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Clock that progress reads instead of the time."""
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    return clock


def test_lines_show_epoch_phase_parameters_dice_elapsed_and_remaining_time(
    clock: Clock, capsys: pytest.CaptureFixture[str]
) -> None:
    with Progress("toy", 100) as progress:
        progress.validated(0.5)
        for epoch in range(1, 26):
            clock.now += 2
            progress.epoch(epoch, "training", 1234)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 5  # one every ten seconds
    assert lines[0] == (
        "toy: epoch 5 of at most 100, training, 1,234 parameters, validation Dice 0.500, 0:00:10 elapsed, "
        "at most 0:03:10 left"
    )


def test_the_bar_of_a_terminal_is_labelled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Console", lambda **_: Console(file=StringIO(), force_terminal=True, width=140))
    progress = Progress("toy", 100)
    progress.validated(0.5)
    with progress:
        progress.epoch(40, "training", 1234)
        assert progress._bar is not None
        progress._console.print(progress._bar.get_renderable())
    printed = Text.from_ansi(progress._console.file.getvalue()).plain
    assert "training, 1,234 parameters, validation Dice 0.500" in printed
    assert " elapsed, at most " in printed
    assert " left" in printed
    assert printed.count("━") >= 20, "the bar can be read"


def test_resumed_epochs_do_not_shorten_the_remaining_time(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("toy", 100) as progress:
        progress.resumed(90)
        clock.now += 20
        progress.epoch(92, "training", 1234)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "toy: resuming after epoch 90"
    assert lines[1].endswith("0:00:20 elapsed, at most 0:01:20 left")


def test_preparing_cases_does_not_change_the_number_of_epochs(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("toy", 100) as progress:
        progress.case(45, 45, "preparing")
        clock.now += 20
        progress.epoch(20, "training", 1234)
    (line,) = capsys.readouterr().err.splitlines()
    assert "epoch 20 of at most 100" in line
    assert line.endswith("at most 0:01:20 left")


def test_quiet_progress_prints_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("toy", 100, quiet=True) as progress:
        clock.now += 20
        progress.epoch(1, "training", 1234)
        progress.case(1, 2, "testing")
        progress.say("a line")
    assert capsys.readouterr() == ("", "")


def test_titles_are_text_and_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    with Progress("folder [/red]\x1b[2J", 100) as progress:
        progress.resumed(1)
    assert capsys.readouterr().err == "folder [/red]\\x1b[2J: resuming after epoch 1\n"
