"""A network that is ready to be timed."""

from __future__ import annotations

from typing import NamedTuple

from stampbench.benchmark.measure.stopwatch import Call


class Session(NamedTuple):
    """A network that is ready to be timed.

    Attributes:
        call: computes one batch.
        layout: memory layout of its tensors.
        allocated: peak bytes that PyTorch's CUDA allocator held for a batch, weights included; None: unknown.
        file_bytes: bytes of the file that the backend reads; None: it reads none.
    """

    call: Call
    layout: str
    allocated: int | None = None
    file_bytes: int | None = None
