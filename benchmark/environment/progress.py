"""Progress of work: bars with remaining time at a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import NamedTuple, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from stampbench.reports.escape import one_line

_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Phase, epoch, parameters, validation Dice, elapsed and remaining time of one piece of work.

    `total` counts epochs, or cases while data is prepared; it may be an upper bound ("at most").
    """

    def __init__(self, title: str, total: int, *, quiet: bool = False) -> None:
        self.title, self.total = one_line(title), total
        self._console = Console(stderr=True, quiet=quiet)
        self._bar: Bar | None = None
        if self._console.is_terminal and not quiet:
            self._bar = Bar(
                TextColumn("{task.description}", markup=False),
                BarColumn(bar_width=24),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                TextColumn("elapsed, at most"),
                TimeRemainingColumn(),
                TextColumn("left"),
                console=self._console,
                transient=True,
            )
            self._task = self._bar.add_task("starting", total=total)
        self._quiet = quiet
        self._started = self._printed = time.monotonic()
        self._resumed_at = 0
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
        """Report that `done` epochs were trained by an earlier process; the remaining time ignores them."""
        self._resumed_at = done
        self.say(f"{self.title}: resuming after epoch {done}")

    def validated(self, dice: float) -> None:
        """Set the validation Dice that is shown."""
        self._dice = dice

    def epoch(self, done: int, phase: str, parameters: int) -> None:
        """Report that `done` epochs are trained."""
        dice = "" if self._dice is None else f", validation Dice {self._dice:.3f}"
        self._show(done, self.total, f"{phase}, {parameters:,} parameters{dice}", "epoch")

    def case(self, done: int, total: int, phase: str, unit: str = "case") -> None:
        """Report progress in cases or other units.

        Args:
            done: processed units.
            total: all units.
            phase: name of the work.
            unit: name of a unit.
        """
        self._show(done, total, phase, unit)

    def say(self, line: str) -> None:
        """Print a line that stays."""
        if not self._quiet:
            self._console.print(line, highlight=False, soft_wrap=True, markup=False, emoji=False)

    def warn(self, line: str) -> None:
        """Print a line that stays, also if no progress is shown, as in workers."""
        if self._quiet:
            print(f"{self.title}: {line}", file=sys.stderr, flush=True)
        else:
            self.say(f"{self.title}: {line}")

    def _show(self, done: int, total: int, details: str, unit: str) -> None:
        if self._bar:
            self._bar.update(self._task, completed=done, total=total, description=details)
            return
        now = time.monotonic()
        if self._quiet or now - self._printed < _SECONDS_BETWEEN_LINES:
            return
        self._printed = now
        elapsed = now - self._started
        left = elapsed / max(1, done - self._resumed_at) * max(0, total - done)
        print(
            f"{self.title}: {unit} {done} of at most {total}, {details}, "
            f"{_clock(elapsed)} elapsed, at most {_clock(left)} left",
            file=sys.stderr,
            flush=True,
        )


class RunCounts(NamedTuple):
    """How many runs of a schedule are done, failed, leased by other processes, and the titles of running ones."""

    done: int
    running: tuple[str, ...]
    failed: int
    elsewhere: int
    total: int


class ScheduleProgress:
    """Counts of runs, titles of the running ones, elapsed and remaining time of a schedule."""

    def __init__(self, title: str, total: int, *, quiet: bool = False) -> None:
        self._title, self._total, self._quiet = one_line(title), total, quiet
        self._console = Console(stderr=True, quiet=quiet)
        self._live = Live(console=self._console, transient=True) if self._console.is_terminal and not quiet else None
        self._started = self._printed = time.monotonic()

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def show(self, counts: RunCounts) -> None:
        """Redraw the counts at a terminal; elsewhere print a line once a minute."""
        elapsed, ended = time.monotonic() - self._started, counts.done + counts.failed
        left = "" if not ended else f", about {_clock(elapsed / ended * (counts.total - ended))} left"
        elsewhere = f", {counts.elsewhere} running elsewhere" if counts.elsewhere else ""
        line = (
            f"{self._title}: {counts.done} of {counts.total} done, {len(counts.running)} running, "
            f"{counts.failed} failed{elsewhere}, {_clock(elapsed)} elapsed{left}"
        )
        if self._live:
            self._live.update(Group(Text(line), *(Text(f"  {title}") for title in counts.running[:8])))
        elif not self._quiet and time.monotonic() - self._printed > 6 * _SECONDS_BETWEEN_LINES:
            self._printed = time.monotonic()
            print(line, file=sys.stderr, flush=True)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}"
