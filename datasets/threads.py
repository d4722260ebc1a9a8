"""Cases worked on several at a time."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import psutil

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_COPIES = 8
"""How many float32 copies of a case are in memory at once while it is worked on, generously."""


def in_threads(
    work: Callable[[_Item], _Result],
    items: Sequence[_Item],
    largest: int,
    report: Callable[[int, int], None] = lambda done, of: None,
) -> Iterator[_Result]:
    """The result for each item, in order; as many at a time as there are cores, and memory for `largest` bytes each.

    `report` hears of each. Reading, unpacking and arithmetic on arrays let other threads run. Interrupted, what is
    under way ends and what waits is dropped.
    """
    room = psutil.virtual_memory().available // (_COPIES * max(largest, 1))
    with ThreadPoolExecutor(max(1, min(os.cpu_count() or 1, room))) as pool:
        waiting = [pool.submit(work, item) for item in items]
        try:
            for done, each in enumerate(waiting, start=1):
                result = each.result()
                report(done, len(items))
                yield result
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
