"""Time that each part of a task takes, for people who ask what they wait for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tabulate import tabulate


class PartTimes:
    """Adds up the seconds of named parts.

    Args:
        clock: returns seconds.

    Attributes:
        seconds: seconds by part, in the order of their first use.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.seconds: dict[str, float] = {}
        self._clock = clock

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        """Add the time of a block to a part."""
        started = self._clock()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + self._clock() - started

    def table(self) -> str:
        """Return the parts with their seconds and shares, and the sum, as text."""
        whole = sum(self.seconds.values())
        parts = {**self.seconds, "all": whole}
        rows = [(name, f"{each:.2f} s", f"{each / whole if whole else 0:.0%}") for name, each in parts.items()]
        return tabulate(rows, headers=("part", "time", "share"), colalign=("left", "right", "right"))
