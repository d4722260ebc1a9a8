"""What a person at a terminal sees of a run; plain lines where there is no terminal."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Phase, epoch, parameters left, validation Dice, elapsed and remaining time of one piece of work.

    `total` is in epochs, or in cases while data is prepared; it may be an upper bound ("at most").
    """

    def __init__(self, title: str, total: int, *, quiet: bool = False) -> None:
        self.title, self.total = title, total
        self._console = Console(stderr=True, quiet=quiet)
        self._bar: Bar | None = None
        if self._console.is_terminal and not quiet:
            self._bar = Bar(
                TextColumn("{task.description}"),
                BarColumn(bar_width=10),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TimeRemainingColumn(),
                console=self._console,
                transient=True,
            )
            self._task = self._bar.add_task("starting", total=total)
        self._quiet = quiet
        self._started = self._printed = time.monotonic()
        self._begun_at = 0
        self._dice: float | None = None

    def __enter__(self) -> Self:
        if self._bar:
            self.say(self.title)
            self._bar.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._bar:
            self._bar.stop()

    def resumed(self, done: int) -> None:
        """Work that an earlier process did; it does not count for the time left."""
        self._begun_at = done
        self.say(f"{self.title}: resuming after epoch {done}")

    def validated(self, dice: float) -> None:
        self._dice = dice

    def epoch(self, done: int, phase: str, parameters: int) -> None:
        dice = "" if self._dice is None else f", validation Dice {self._dice:.3f}"
        self._show(done, f"{phase}, {parameters:,} parameters{dice}", "epoch")

    def case(self, done: int, total: int, phase: str, unit: str = "case") -> None:
        self.total = total
        self._show(done, phase, unit)

    def say(self, line: str) -> None:
        """A line that stays."""
        if not self._quiet:
            self._console.print(line, highlight=False, soft_wrap=True)

    def _show(self, done: int, details: str, unit: str) -> None:
        if self._bar:
            self._bar.update(
                self._task, completed=done, total=self.total, description=details.replace("validation ", "")
            )
            return
        now = time.monotonic()
        if self._quiet or now - self._printed < _SECONDS_BETWEEN_LINES:
            return
        self._printed = now
        elapsed = now - self._started
        left = elapsed / max(1, done - self._begun_at) * max(0, self.total - done)
        print(
            f"{self.title}: {unit} {done} of at most {self.total}, {details}, "
            f"{_clock(elapsed)} elapsed, at most {_clock(left)} left",
            file=sys.stderr,
            flush=True,
        )


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
