"""What a person at a terminal sees of a run; plain lines where there is no terminal."""

from __future__ import annotations

import signal
import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bar

if TYPE_CHECKING:
    from stampbench.benchmark.execution.scheduler import State

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


class SuiteProgress:
    """How many runs are done, running and failed, which ones are running, and the time left."""

    def __init__(self, title: str, total: int) -> None:
        self._title, self._total = title, total
        self._console = Console(stderr=True)
        self._live = Live(console=self._console, transient=True) if self._console.is_terminal else None
        self._started = self._printed = time.monotonic()

    def __enter__(self) -> Self:
        if self._live:
            self._live.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._live:
            self._live.stop()

    def say(self, line: str) -> None:
        """A line that stays."""
        self._console.print(line, highlight=False, soft_wrap=True)

    def show(self, state: State) -> None:
        """Redrawn several times a second at a terminal; elsewhere a line now and then."""
        elapsed, ended = time.monotonic() - self._started, state.done + state.failed
        left = "" if not ended else f", about {_clock(elapsed / ended * (state.total - ended))} left"
        away = f", {state.elsewhere} under way elsewhere" if state.elsewhere else ""
        line = (
            f"{self._title}: {state.done} of {state.total} done, {len(state.running)} running, {state.failed} failed"
            f"{away}, {_clock(elapsed)} elapsed{left}"
        )
        if self._live:
            self._live.update(Group(line, *(f"  {title}" for title in state.running[:8])))
        elif time.monotonic() - self._printed > 6 * _SECONDS_BETWEEN_LINES:
            self._printed = time.monotonic()
            print(line, file=sys.stderr, flush=True)


def end_like_ctrl_c() -> None:
    """Ended by a supervisor, or with its terminal, a program saves what it does too."""
    for name in ("SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.default_int_handler)
