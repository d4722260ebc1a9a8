"""Process several cases at a time in threads, within the available memory."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import psutil

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_COPIES = 8
"""Upper estimate of how many float32 copies of a case are in memory while it is processed."""


def in_threads(
    work: Callable[[_Item], _Result],
    items: Sequence[_Item],
    largest: int,
    report: Callable[[int, int], None] = lambda done, total: None,
) -> Iterator[_Result]:
    """Apply a function to every item in parallel threads and yield the results in the order of the items.

    Threads suffice because reading, decompressing and array arithmetic release the interpreter lock. If the iteration
    is interrupted, items in progress are finished and waiting items are cancelled.

    Args:
        work: Function of one item.
        items: Items to process.
        largest: Size of the largest item in bytes. There are as many threads as cores, or fewer if memory is short.
        report: Called with the number of finished items and the number of all items, after each item.
    """
    in_memory = psutil.virtual_memory().available // (_COPIES * max(largest, 1))
    with ThreadPoolExecutor(max(1, min(os.cpu_count() or 1, in_memory))) as pool:
        futures = [pool.submit(work, item) for item in items]
        try:
            for done, future in enumerate(futures, start=1):
                result = future.result()
                report(done, len(items))
                yield result
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise
