"""Instructions of the CPU without which low precisions are slower than fp32, or inexact."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from stampbench.benchmark.errors import UserError

_NEEDED = {
    "int8": {"avx512_vnni": "AVX512-VNNI", "avx_vnni": "AVX-VNNI", "amx_int8": "AMX", "asimddp": "Arm's dot product"},
    "bf16": {"avx512_bf16": "AVX512-BF16", "amx_bf16": "AMX", "bf16": "Arm's BF16"},
}
"""By precision, instructions as Linux names them, each of which is enough, and their names."""
_INFO = Path("/proc/cpuinfo")


def check_instructions(precision: str) -> None:
    """Check that the CPU has instructions with which a precision is faster than fp32.

    Without them, products of 8-bit integers are summed in 16 bits, which is slow and overflows; bf16 is computed as
    fp32.

    Raises:
        UserError: when it has none. Where the system does not tell them, nothing is refused.
    """
    needed, found = _NEEDED.get(precision, {}), _instructions()
    if needed and found is not None and not needed.keys() & found:
        raise UserError(
            f"precision '{precision}': this CPU has no instructions that make it faster than fp32 "
            f"({', '.join(needed.values())})"
        )


@lru_cache(maxsize=1)
def _instructions() -> frozenset[str] | None:
    """Return the CPU's instruction sets under the names of Linux; None: unknown."""
    if _INFO.is_file():
        for line in _INFO.read_text().splitlines():
            name, _, value = line.partition(":")
            if name.strip() in ("flags", "Features"):
                return frozenset(value.split())
    return None
