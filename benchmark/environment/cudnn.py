"""The version of cuDNN that PyTorch uses on a GPU, and its known faults."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import torch

Version = tuple[int, int, int]


class KnownFault(NamedTuple):
    """What a range of versions does wrong.

    Attributes:
        first: the first version that does it.
        mended: the first version that does not.
        precisions: precisions of the convolutions.
        problem: what happens.
        source: where it was reported.
    """

    first: Version
    mended: Version
    precisions: tuple[str, ...]
    problem: str
    source: str


# A third report, pytorch #167420 (half-precision 3D convolutions with a bias are slow), names no versions.
KNOWN_FAULTS = (
    KnownFault((9, 8, 0), (9, 13, 0), ("bf16",), "large 3D convolutions may be wrong", "pytorch #163539"),
    KnownFault((9, 8, 0), (9, 15, 0), ("bf16", "fp16"), "3D convolutions need much more memory", "pytorch #166643"),
)


def parse_version(number: int) -> Version:
    """Return major, minor and patch version of cuDNN's own number: 91002 is 9.10.2, 8902 is 8.9.2."""
    major, rest = divmod(number, 10_000 if number >= 90_000 else 1000)
    return (major, *divmod(rest, 100))


def cudnn_version() -> Version | None:
    """Return the version that PyTorch uses; None without a GPU or without cuDNN."""
    import torch  # it takes a second, which reading records does not have

    number = torch.backends.cudnn.version() if torch.cuda.is_available() else None  # type: ignore[no-untyped-call]
    return None if number is None else parse_version(number)


def version_text(version: Version | None) -> str | None:
    """Return a version as text, such as `9.10.2`."""
    return None if version is None else ".".join(map(str, version))


def objections(version: Version | None, precision: str | None = None) -> list[str]:
    """Return the known faults of a version, a sentence each; with `precision`, only those of this precision."""
    return [
        f"with {' and '.join(each.precisions)}, {each.problem} ({each.source}); use cuDNN "
        f"{each.mended[0]}.{each.mended[1]} or newer, or fp32"
        for each in KNOWN_FAULTS
        if version is not None and each.first <= version < each.mended and precision in (None, *each.precisions)
    ]


def precision_warnings(device: torch.device, precisions: Iterable[str]) -> list[str]:
    """Return the known faults that training on a device with some precisions meets."""
    if device.type != "cuda":
        return []
    version = cudnn_version()
    found = [each for precision in sorted(set(precisions)) for each in objections(version, precision)]
    return [f"cuDNN {version_text(version)}: {each}" for each in dict.fromkeys(found)]
