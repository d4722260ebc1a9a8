"""Parsing of option texts."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from stampbench.benchmark.errors import UserError, unknown

MOST_IMAGES = 1_000_000_000
"""Largest batch."""


def parse_settings(option: str, settings: Iterable[str]) -> dict[str, str]:
    """Return `key=value` texts as a dictionary.

    Raises:
        UserError: when a text is not `key=value`.
    """
    pairs = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals or not key.strip():
            raise UserError(f"{option} takes key=value, not '{setting}'")
        pairs[key.strip()] = value.strip()
    return pairs


def parse_names(text: str) -> list[str]:
    """Return names separated by commas; empty ones are dropped."""
    return [name.strip() for name in text.split(",") if name.strip()]


def parse_known(kind: str, text: str, known: Iterable[str]) -> list[str]:
    """Return known names separated by commas.

    Raises:
        UserError: when a name is unknown.
    """
    names = [name.strip() for name in text.split(",")]
    for name in names:
        if name not in known:
            raise unknown(kind, name, known)
    return names


def parsed(option: str, parse: Callable[[object], object], text: str) -> object:
    """Return the value of an option's text.

    Args:
        option: name of the option, for messages.
        parse: parses the text, or raises ValueError.
        text: the text.

    Raises:
        UserError: when the text is not valid.
    """
    try:
        return parse(text)
    except ValueError as error:
        raise UserError(f"{option} '{text}': {error}") from None


def parse_batches(text: str) -> list[int | None]:
    """Return batch sizes separated by commas; None stands for `auto`.

    Raises:
        UserError: when one is neither.
    """
    batches: list[int | None] = []
    for part in (each.strip() for each in text.split(",")):
        if part != "auto" and not (part.isdecimal() and 1 <= int(part) <= MOST_IMAGES):
            raise UserError(f"--batch '{part}' is neither 1 to {MOST_IMAGES:,} images nor 'auto'")
        batches.append(None if part == "auto" else int(part))
    return batches


def parse_shape(text: str, dims: int) -> tuple[int, ...]:
    """Return a spatial size such as `48,64,48`.

    Raises:
        UserError: when it is not a size, or has another number of axes.
    """
    from stampbench.benchmark.config.dataset_request import parse_size

    size = parsed("--shape", parse_size, text)
    assert isinstance(size, tuple)
    if len(size) != dims:
        raise UserError(f"--shape '{text}': {dims} numbers are expected")
    return size
