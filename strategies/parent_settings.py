"""Hyperparameters of a parent run, given as a mapping or as JSON."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BeforeValidator


def _from_json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except json.JSONDecodeError as error:
        raise ValueError(f"must be a JSON object ({error.msg})") from None


ParentSettings = Annotated[dict[str, Any], BeforeValidator(_from_json)]
"""Hyperparameters by name; text is read as a JSON object."""
