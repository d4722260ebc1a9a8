"""Validation of pydantic models, with errors in one line."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from stampbench.benchmark.errors import UserError

_MOST_CHARACTERS = 200
"""Longer values are shortened in messages."""
_Model = TypeVar("_Model", bound=BaseModel)


def validated(cls: type[_Model], what: str, values: Mapping[str, Any]) -> _Model:
    """Build a model.

    Args:
        cls: the model.
        what: name of the thing in messages, such as `strategy 'stamp'`.
        values: its fields.

    Raises:
        UserError: when a value is not valid; the message names the field, the value and the problem.
    """
    try:
        return cls.model_validate(values)
    except ValidationError as error:
        field, problem = explain(error)
        raise UserError(f"{what}: {field}{problem}") from None


def explain(error: ValidationError) -> tuple[str, str]:
    """Return `field=value: ` (empty for the whole model) and the problem of the first fault, in lower case."""
    first = error.errors()[0]
    key = ".".join(map(str, first["loc"]))
    problem = first["msg"].removeprefix("Value error, ")
    value = repr(first["input"])
    value = value if len(value) <= _MOST_CHARACTERS else f"{value[:_MOST_CHARACTERS]}…"
    return f"{key}={value}: " if key else "", f"{problem[0].lower()}{problem[1:]}"
